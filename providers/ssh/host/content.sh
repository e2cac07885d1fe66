# Files by their content, on a host. POSIX sh; the caller sets R, our folder there.
#
# A file is told from others by its size and its spread: the SHA-256 of its size, its first 16 MiB and
# blocks of 64 KiB spread over all of it, whose numbers the caller names.

sum() { # prints the SHA-256 of stdin
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum
  elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256
  else
    openssl dgst -sha256 -r
  fi | { read -r h _ && echo "$h"; }
}

size_of() { # prints the size of file $1, links followed; nothing where there is none
  ls -dlnL -- "$1" 2>/dev/null | { read -r _ _ _ _ s _ && echo "$s"; }
}

spread() { # of file $1 with size $2, and the blocks $3
  {
    printf '%s\n' "$2"
    dd if="$1" bs=1048576 count=16
    for k in $3; do dd if="$1" bs=65536 count=1 skip="$k"; done
  } 2>/dev/null | sum
}

is() { # whether file $1 has size $2 and spread $3 of the blocks $4
  [ -f "$1" ] && [ "$(size_of "$1")" = "$2" ] && [ "$(spread "$1" "$2" "$4")" = "$3" ]
}

candidates() { # paths of files of size $1 where programs keep models, ours first; a walk is given 20 s
  hub="${HF_HUB_CACHE:-${HUGGINGFACE_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}}"
  limit=
  command -v timeout >/dev/null 2>&1 && limit='timeout 20'
  for d in "$R/models" "$hub" "${OLLAMA_MODELS:-$HOME/.ollama/models}/blobs" \
    /usr/share/ollama/.ollama/models/blobs "${LLAMA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llama.cpp}" \
    "$HOME/.lmstudio/models" "$HOME/.cache/lm-studio/models"; do
    [ -d "$d" ] && $limit find -L "$d" -type f -size "${1}c" ! -name '*.part' ! -name '*.incomplete' -print 2>/dev/null
  done | head -n 64
}
