#!/usr/bin/env bash
# Run one t2i command on all workers of a TPU VM slice, again until it is done.
#
#   launch/tpu_vm.sh --tpu my-slice --zone us-west4-a --dir t2i_jax -- train --config configs/latent_gan_256.py --workdir /mnt/shared/run
#
# Assumes: gcloud is logged in; on every worker the repository lies in --dir (relative to the home directory) with its
# virtual environment .venv and jax[tpu] in it; --workdir and the data are on storage that all workers mount.
# The processes find each other without arguments. Ends with 0 when all are done, with 2 where a person must act, and
# otherwise runs the command again, at most --restarts times (preempted slices have to be made again first).
set -euo pipefail

usage() { echo "usage: $0 --tpu NAME --zone ZONE [--project P] [--dir DIR] [--restarts N] [--pause SECONDS] [--dry-run] -- COMMAND..." >&2; }
die() { echo "tpu_vm.sh: $1" >&2; usage; exit 2; }

tpu="" zone="" project="" dir="t2i_jax" restarts=100 pause=60 dry_run=""
while (($#)); do
  case "$1" in
    --tpu | --zone | --project | --dir | --restarts | --pause)
      (($# > 1)) || die "$1 needs a value"
      declare "${1#--}=$2"
      shift 2 ;;
    --dry-run) dry_run=yes; shift ;;
    --) shift; break ;;
    *) die "unknown argument $1" ;;
  esac
done
[[ -n $tpu && -n $zone ]] || die "--tpu and --zone are needed"
[[ $restarts =~ ^[0-9]+$ ]] || die "--restarts $restarts is not a number"
[[ $pause =~ ^[0-9]+$ ]] || die "--pause $pause is not a number"
(($#)) || die "no command; give one behind --, for example train --config ... --workdir ..."
[[ $1 == train || $1 == evaluate || $1 == sample ]] || die "$1 cannot be run by several processes; accepted: train, evaluate, sample"

# Every worker says how its process ended, for gcloud does not say of which worker its own exit code is.
printf -v remote 'cd %q && .venv/bin/python -m t2i_jax' "$dir"
for word in "$@"; do printf -v remote '%s %q' "$remote" "$word"; done
remote="$remote; echo \"t2i ended with \$?\""
ssh=(gcloud compute tpus tpu-vm ssh "$tpu" --zone "$zone" --worker all --command "$remote")
[[ -z $project ]] || ssh+=(--project "$project")
if [[ -n $dry_run ]]; then printf '%q ' "${ssh[@]}"; echo; exit 0; fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for ((attempt = 0; attempt <= restarts; attempt++)); do
  "${ssh[@]}" 2>&1 | tee "$log" || true
  codes=$(sed -n 's/.*t2i ended with \([0-9]*\).*/\1/p' "$log" | sort -un | tr '\n' ' ')
  case " $codes" in
    " 0 ") exit 0 ;;
    *" 2 "*) echo "tpu_vm.sh: a person must act, see above" >&2; exit 2 ;;
  esac
  echo "tpu_vm.sh: ended with: ${codes:-no answer}; again in $pause s ($((attempt + 1)) of $restarts)" >&2
  ((attempt == restarts)) || sleep "$pause"
done
exit 75
