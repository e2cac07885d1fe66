# What a host is, in one script: sections between "@@NONCE NAME" lines. Writes nothing on the host, needs
# no root. W=all: everything; W=live: what changes by the minute. A fork costs a busy host 1-2 ms, so one
# grep reads every small file. Risky programs come last: a driver that hangs in the kernel ignores KILL.
LC_ALL=C LANG=C
export LC_ALL LANG
for d in /usr/local/bin /usr/local/cuda/bin /opt/rocm/bin /usr/lib/wsl/lib /opt/homebrew/bin /usr/local/sbin /usr/sbin /sbin /usr/bin /bin /snap/bin /opt/bin /run/current-system/sw/bin "$HOME/.local/bin" "$HOME/bin" /app; do
  PATH=$PATH:$d # appended: what the person's own PATH has goes first
done
export PATH
section() { printf '\n@@%s %s\n' "$N" "$1"; }
status() { printf '\n@@%s rc %s\n' "$N" "$?"; }
have() { command -v "$1" >/dev/null 2>&1; }
if have timeout && timeout -s KILL 9 true 2>/dev/null; then
  limit() { timeout -s KILL "$@"; }
elif have perl; then
  limit() { perl -e 'alarm shift; exec @ARGV or exit 127' "$@"; }
else
  limit() { shift; "$@"; }
fi
os=$(uname -s)

section id
uname -snrm
printf 'user %s\nhome %s\nstate %s\n' "$(id -un)" "$HOME" "${XDG_STATE_HOME:-}"

section files
set -- /proc/sys/kernel/random/boot_id /proc/uptime /proc/loadavg /proc/meminfo /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max
for c in /sys/class/drm/card[0-9] /sys/class/drm/card[0-9][0-9]; do
  d=$c/device
  [ -r "$d/mem_info_vram_total" ] && set -- "$@" "$d/uevent" "$d/vendor" "$d/device" "$d/mem_info_vram_total" "$d/mem_info_vram_used" "$d/mem_info_gtt_total" "$d/mem_info_gtt_used" "$d/gpu_busy_percent" "$d/product_name" "$d/unique_id" "$d"/hwmon/hwmon*/power1_average "$d"/hwmon/hwmon*/power1_cap "$d"/hwmon/hwmon*/temp1_input
done
[ "$W" = all ] && set -- "$@" /etc/os-release /etc/machine-id /proc/1/comm /proc/1/cgroup /.dockerenv /run/.containerenv /proc/sys/fs/binfmt_misc/WSLInterop /sys/class/dmi/id/product_name /sys/class/dmi/id/sys_vendor /proc/driver/nvidia/version /proc/version /sys/firmware/devicetree/base/model
grep -as '' "$@" /dev/null

section disk
df -Pk "$HOME" 2>/dev/null

if [ "$os" = Darwin ]; then
  section mac
  sysctl hw.memsize hw.pagesize hw.physicalcpu hw.logicalcpu hw.model machdep.cpu.brand_string iogpu.wired_limit_mb kern.bootsessionuuid vm.loadavg 2>/dev/null
  vm_stat
  if [ "$W" = all ]; then
    sw_vers
    section macsp
    limit 9 system_profiler -json SPHardwareDataType SPDisplaysDataType 2>/dev/null
    status
  fi
fi

if [ "$W" = all ]; then
  section cpu
  if have lscpu; then lscpu; else grep -E '^(model name|physical id|core id|siblings|flags|Hardware|Model)' /proc/cpuinfo 2>/dev/null; fi
  have free && free -b
  section pci
  for c in /sys/bus/pci/devices/*; do
    [ -r "$c/class" ] && read -r k <"$c/class" && case $k in
    0x03* | 0x12*)
      read -r v <"$c/vendor"
      read -r d <"$c/device"
      b=none
      [ -e "$c/driver" ] && b=bound
      echo "${c##*/} $v $d $k $b"
      ;;
    esac
  done
  for q in /dev/nvidia[0-9]* /dev/kfd /dev/dri/renderD* /dev/dxg; do
    [ -e "$q" ] && { [ -r "$q" ] && [ -w "$q" ] && echo "rw $q" || echo "no $q"; }
  done
  section tools
  for t in setsid flock unshare perl nvidia-smi rocm-smi amd-smi xpu-smi ollama vllm sglang llama-server llama-cli mlx_lm.server text-generation-launcher docker podman sbatch mpirun python3; do
    command -v $t
  done
  if have unshare; then
    unshare --user --map-current-user --pid --fork --kill-child true 2>/dev/null && echo works unshare
  fi
  section environments
  for e in "$HOME"/miniconda3 "$HOME"/anaconda3 "$HOME"/miniforge3 "$HOME"/mambaforge "$HOME"/micromamba /opt/conda /opt/miniconda3 "$HOME"/miniconda3/envs/* "$HOME"/anaconda3/envs/* "$HOME"/miniforge3/envs/* "$HOME"/mambaforge/envs/* "$HOME"/micromamba/envs/* "$HOME"/.conda/envs/* /opt/conda/envs/* "$HOME"/.virtualenvs/* "$HOME"/.pyenv/versions/* "$HOME"/.local/share/uv/tools/* "$HOME"/.local/share/pipx/venvs/* "$HOME"/.venv "$HOME"/venv "$HOME"/*/.venv "$HOME"/*/venv "$HOME"/venvs/* "$HOME"/.local /usr/local /usr; do
    for q in "$e"/bin/vllm "$e"/bin/llama-server "$e"/bin/llama-cli "$e"/bin/mlx_lm.server "$e"/bin/sglang "$e"/bin/text-generation-launcher; do
      [ -x "$q" ] && printf 'program %s\n' "$q"
    done
    for q in "$e"/lib/python3*/site-packages/vllm-*.dist-info "$e"/lib/python3*/site-packages/xllamacpp-*.dist-info "$e"/lib/python3*/site-packages/mlx_lm-*.dist-info "$e"/lib/python3*/site-packages/sglang-*.dist-info; do
      [ -d "$q" ] || continue
      printf 'module %s\n' "$q"
      [ -x "$e/bin/python3" ] && printf 'python %s\n' "$e/bin/python3"
    done
  done
  section ports
  grep -s ' 0A ' /proc/net/tcp /proc/net/tcp6 | grep -oE ':(2CAA|1F40|1F90|04D2|7530) 0+:0000'
  section python # the first that is new enough for engines ends the search
  for t in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    p=$(command -v $t) && { [ "$os" != Darwin ] || [ "$p" != /usr/bin/python3 ] || xcode-select -p >/dev/null 2>&1; } &&
      limit 5 "$p" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.executable); sys.exit(sys.version_info < (3, 10))' 2>/dev/null && break
  done
  have loginctl && {
    section logind
    limit 2 loginctl show-user "$(id -un)" -p Linger 2>/dev/null
    status
  }
fi

if have amd-smi; then
  [ "$W" = all ] && {
    section amd
    limit 5 amd-smi static --asic --vram --bus --board --json 2>&1
    status
  }
  section amdm
  limit 5 amd-smi metric --mem-usage --usage --power --temperature --json 2>&1
  status
fi
if have rocm-smi && ! have amd-smi; then
  section rocm
  limit 5 rocm-smi --showid --showuniqueid --showbus --showproductname --showmeminfo vram --showuse --showpower --showtemp --json 2>&1
  status
fi
if have nvidia-smi; then
  q=index,uuid,pci.bus_id,name,memory.total,memory.used,memory.free,utilization.gpu,power.draw,power.limit,temperature.gpu,driver_version
  section nv
  o=$(limit 5 nvidia-smi --query-gpu=$q,compute_cap,mig.mode.current --format=csv,nounits 2>&1)
  r=$?
  case $o in *'not a valid field'*)
    o=$(limit 5 nvidia-smi --query-gpu=$q --format=csv,nounits 2>&1)
    r=$?
    ;;
  esac
  printf '%s\n\n@@%s rc %s\n' "$o" "$N" "$r"
  if [ $r = 0 ]; then
    section nvp
    limit 5 nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name,used_memory --format=csv,nounits 2>&1
    status
    section nvl
    limit 5 nvidia-smi -L 2>&1
    status
  fi
fi
section end
