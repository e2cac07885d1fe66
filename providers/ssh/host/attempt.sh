# One attempt is one folder; this program starts it, watches it, tells of it and ends it. POSIX sh.
#
#   D=FOLDER A=MARKER LOCKS="NAME …" GRACE=SECONDS PY=PYTHON WRAP=yes sh attempt.sh VERB
#
# claim: the supervisor (pid, start, boot), made by ln: of many starts one wins, and nobody deletes it.
# child: the same of the job, which leads its own process group. ended.WHY.CODE: how it ended, made by
# renaming child (or linking claim), so it needs no free disk block. A card's lock is flock on the
# card's own file in sysfs; the job inherits it, so the card stays taken while anything of the job lives.
set -u
umask 077
D=${D:-} A=${A:-} LOCKS=${LOCKS:-} GRACE=${GRACE:-8} PY=${PY:-} WRAP=${WRAP:-}
tab=$(printf '\t')

{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || boot=$(sysctl -n kern.bootsessionuuid)

ticks() { # sets t: when process $1 began, as the kernel counts; "" where it is gone or a zombie
  t=
  if [ -r /proc/self/stat ]; then
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
    set -- ${line##*\)} # a program's name may hold spaces and parentheses
    case ${1:-Z} in Z | X) ;; *) t=${20} ;; esac
  else
    t=$(ps -o lstart= -p "$1" 2>/dev/null | tr -dc '0-9A-Za-z')
  fi
}

alive() { # whether the process that file $1 names lives, in this boot; sets p
  { read -r p began its_boot <"$1"; } 2>/dev/null || return 1
  [ "$its_boot" = "$boot" ] || return 1
  ticks "$p"
  [ -n "$t" ] && [ "$t" = "$began" ]
}

ended() { # sets how: WHY.CODE
  for how in "$D"/ended.*; do
    [ -e "$how" ] && how=${how##*/ended.} && return 0
  done
  return 1
}

state() { # sets is
  ended && is=ended.$how && return
  [ -e "$D/claim" ] || { is=absent && return; }
  if alive "$D/claim"; then
    is=starting
    [ -e "$D/child" ] && is=running
    [ -e "$D/paused" ] && is=paused
  elif alive "$D/child" || alive "$D/burier"; then
    is=orphan
  else
    is=lost # unless it ended since we looked
    ended && is=ended.$how
  fi
  return 0
}

marked() { # every process of this user that carries the attempt's marker
  if [ -r /proc/self/environ ]; then
    grep -slF "FLEET_ATTEMPT=$A" /proc/[0-9]*/environ 2>/dev/null | tr -dc '0-9\n'
  else
    ps -axEww -o pid=,command= | grep -F "FLEET_ATTEMPT=$A" | grep -v grep | awk '{print $1}'
  fi
}

group_of() { # sets g: the process group of $1
  g=
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  set -- ${line##*\)}
  g=$3
}

tell() { # signals $1, once each, to group $2 and to whoever carries the marker outside of it
  others=
  for q in $(marked); do
    group_of "$q"
    [ "$g" = "$2" ] || [ "$q" = $$ ] || others="$others $q"
  done
  for signal in $1; do
    kill "-$signal" "-$2" 2>/dev/null
    [ -z "$others" ] || kill "-$signal" $others 2>/dev/null
  done
}

anyone() { kill -0 "-$1" 2>/dev/null || [ -n "$(marked)" ]; }

press() { # end group $1 and all that carry the marker: TERM once, then KILL
  [ "$GRACE" = 0 ] || tell "TERM CONT" "$1" # a stopped process hears TERM only once it goes on
  tries=$((GRACE * 5)) until=$(($(date +%s) + GRACE)) # a busy host sleeps longer, a clock may jump
  while [ $tries -gt 0 ] && [ "$(date +%s)" -lt $until ] && anyone "$1"; do
    sleep 0.2
    tries=$((tries - 1))
  done
  for round in 1 2 3 4 5; do # a storm of forks needs several
    tell KILL "$1"
    anyone "$1" || break
  done
}

detached() { # a session of its own, deaf to whatever becomes of ours
  if command -v setsid >/dev/null 2>&1; then
    setsid "$@" &
  else
    perl -e 'use POSIX; fork and exit; POSIX::setsid(); exec @ARGV or exit 127' "$@" &
  fi
}

lock_file() { # sets f: what is locked for a name; a file of our own where sysfs has none
  case $1 in
  cpu) f=/sys/devices/system/cpu/possible ;;
  *) f=/sys/bus/pci/devices/$1/vendor ;;
  esac
  [ -e "$f" ] && return
  f=/tmp/.fleet-ledger-$1.lock
  [ -e "$f" ] || [ -L "$f" ] || (umask 022 && set -C && : >"$f") 2>/dev/null
}

take() { # take the lock of name $1 on descriptor $2, "shared" or not
  lock_file "$1"
  [ ! -L "$f" ] || return 1 # somebody's trap in /tmp
  eval "exec $2<\"\$f\"" || return 1
  if command -v flock >/dev/null 2>&1; then
    if [ "${3:-}" = shared ]; then flock -sn "$2"; else flock -n "$2"; fi
  else
    perl -e 'open(F, "<&=", shift) or exit 1; exit !flock(F, (shift eq "shared" ? 1 : 2) | 4)' "$2" "${3:-}"
  fi
}

take_all() {
  [ -z "$LOCKS" ] || command -v flock >/dev/null 2>&1 || command -v perl >/dev/null 2>&1 || {
    echo "nothing here locks a card: install flock, perl or python3" >why && return 125
  }
  n=2
  for name in $LOCKS; do
    n=$((n + 1))
    [ $n -le 8 ] || { echo "a shell holds six locks at most: install python3" >why && return 125; }
    case $name in
    */*) # a slice: the card shared, the slice for us alone
      take "${name%%/*}" $n shared || { echo "card ${name%%/*} is taken whole" >why && return 75; }
      n=$((n + 1))
      take "${name##*/}" $n || { echo "slice ${name##*/} is taken" >why && return 75; }
      ;;
    *) take "$name" $n || { echo "card $name is taken" >why && return 75; } ;;
    esac
  done
}

claim() {
  ticks $$
  echo "$$ $t $boot" >".claim.$$" && ln ".claim.$$" claim 2>/dev/null
  won=$?
  rm -f ".claim.$$"
  return $won
}

now_ms() { t=$(date +%s%3N 2>/dev/null); case $t in *N | '') t=$(date +%s)000 ;; esac; }

inner() { # process 1 of a PID namespace: the job must not be, or it would be deaf to TERM
  trap : TERM
  sh ./cmd &
  c=$!
  while :; do
    wait $c
    r=$?
    kill -0 $c 2>/dev/null || exit $r
  done
}

go_on() { # it stands still no more; sets t: now
  now_ms
  [ "$since" -eq 0 ] || held=$((held + t - since))
  since=0
  rm -f paused
}

never() { # claimed, and cancelled before it began: it ran for no time
  echo "$began 0 0 0 0" >usage
  ln claim ended.cancelled.0
  exit 0
}

supervise() {
  cd "$D" || exit 2
  # A wait that begins after the signal sleeps on: whoever hears it while the job lives ends it at once.
  trap 'stop=cancelled; [ -z "$c" ] || press "$c"' TERM
  trap 'asked=STOP' USR1
  trap 'asked=CONT' USR2
  trap : HUP INT # not '': a job could not undo that
  stop= asked= c= since=0 held=0
  claim || exit 3
  take_all || {
    case $? in 75) ln claim ended.busy.75 ;; *) ln claim ended.setup.125 ;; esac
    exit 1
  }
  now_ms
  began=$t
  [ -z "$stop" ] || never # a cancel came between the claim and now
  export FLEET_ATTEMPT="$A"
  if [ -n "$WRAP" ]; then
    exec setsid unshare --user --map-current-user --pid --fork --kill-child sh "$0" inner
  elif command -v setsid >/dev/null 2>&1; then
    exec setsid sh ./cmd
  else
    exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV or exit 127' sh ./cmd
  fi </dev/null >>log.txt 2>&1 &
  c=$!
  unset FLEET_ATTEMPT
  [ -z "$stop" ] || press $c
  ticks $c
  echo "$c $t $boot" >.child && mv .child child
  while :; do
    wait $c
    rc=$?
    kill -0 $c 2>/dev/null || break
    case $asked in
    STOP)
      tell STOP $c
      : >paused
      now_ms
      [ "$since" -gt 0 ] || since=$t
      ;;
    CONT) tell CONT $c; go_on ;;
    esac
    asked=
  done
  GRACE=0 press $c # nothing of the job outlives it
  go_on
  echo "$began $((t - began)) 0 0 $held" >usage
  case $rc in
  129 | 13[0-9] | 14[0-9] | 15[0-9]) why=signal rc=$((rc - 128)) ;; # or a program that says so
  *) why=exit ;;
  esac
  [ -z "$stop" ] || why=cancelled
  mv child "ended.$why.$rc"
}

start() { # the job's own script arrives on stdin
  mkdir -p "$D/work" && cd "$D" || { echo "setup cannot make $D"; exit 73; }
  state
  if [ $is = absent ]; then
    cat >".cmd.$$" && [ "$(wc -c <".cmd.$$")" -eq "$SIZE" ] && mv ".cmd.$$" cmd || {
      rm -f ".cmd.$$"
      echo "nospace"
      exit 73
    }
    if [ -n "$PY" ]; then
      detached "$PY" -I "${0%attempt-*}$SUPERVISOR" "$D" "$A" "$GRACE" $LOCKS </dev/null >/dev/null 2>>sup.err
    else
      detached sh "$0" supervise </dev/null >/dev/null 2>>sup.err
    fi
    tries=250
    while [ $tries -gt 0 ]; do
      state
      case $is in running | ended.* | orphan | lost) break ;; absent) [ -s sup.err ] && break ;; esac
      sleep 0.02
      tries=$((tries - 1))
    done
  fi
  state
  said=
  { read -r said <claim; } 2>/dev/null
  echo "$is $said"
  [ $is = absent ] && tail -n 1 sup.err
  return 0
}

states() { # every attempt, or those named: NAME, state, usage, why
  root=$D
  [ $# -gt 0 ] || { cd "$root" 2>/dev/null && set -- *.*; }
  for name; do
    D=$root/$name
    state
    used= why=
    case $is in
    ended.* | lost)
      { read -r used <"$D/usage"; } 2>/dev/null
      { read -r why <"$D/why"; } 2>/dev/null
      ;;
    esac
    printf '%s\t%s\t%s\t%s\n' "$name" "$is" "$used" "$why"
  done
}

cancel() {
  mkdir -p "$D" && cd "$D" || exit 73
  state
  if [ $is = absent ] && claim; then # never started, and now never will be
    ln claim ended.cancelled.0
  elif alive claim; then
    kill -TERM "$p"
  elif [ $is = orphan ]; then
    detached sh "$0" bury </dev/null >/dev/null 2>&1
  fi
  state
  echo "$is"
}

bury() { # the supervisor was killed: end what it left
  cd "$D" || exit 2
  alive child || exit 0
  g=$p
  ticks $$
  echo "$$ $t $boot" >.burier && mv .burier burier
  press "$g"
  mv child ended.cancelled.137
}

ask_supervisor() { # signal $1; until the state is $2, or for two seconds
  alive "$D/claim" && [ -e "$D/child" ] || { echo no; exit 0; }
  kill "-$1" "$p"
  tries=100
  while [ $tries -gt 0 ]; do
    state
    [ $is = "$2" ] && { echo yes; exit 0; }
    sleep 0.02
    tries=$((tries - 1))
  done
  echo no
}

look() { # file $1 from byte $2, at most $3: its size and the state, then the bytes
  state
  n=0
  [ -f "$D/$1" ] && n=$(wc -c <"$D/$1" 2>/dev/null)
  echo "${n:-0} $is"
  [ "${n:-0}" -gt "$2" ] && tail -c "+$(($2 + 1))" "$D/$1" 2>/dev/null | head -c "$3"
  return 0
}

forget() {
  state
  case $is in
  ended.* | lost | absent) rm -rf "$D" && echo gone ;;
  *) echo "$is" ;;
  esac
}

verb=$1
shift
case $verb in
start | supervise | inner | cancel | bury | forget) $verb ;;
states) states "$@" ;;
pause) ask_supervisor USR1 paused ;;
resume) ask_supervisor USR2 running ;;
read) look "$@" ;;
esac
