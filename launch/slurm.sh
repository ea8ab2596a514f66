#!/usr/bin/env bash
# Run one t2i command as a Slurm job, one process for each GPU, again until it is done.
#
#   launch/slurm.sh --nodes 2 --gpus 4 --time 12:00:00 -- train --config configs/latent_gan_256.py --workdir /shared/run
#
# Assumes: it is called in the repository, on a file system that all nodes share, with its virtual environment .venv and
# jax[cuda13] in it; --workdir and the data are on such a file system too. The processes find each other by what srun
# tells them. Two minutes before the time limit, and when the job is preempted, Slurm sends SIGTERM: all processes save
# at one step, end with 75, and the job puts itself back into the queue, as it does after a crash, --restarts times.
set -euo pipefail

usage() { echo "usage: $0 --nodes N --gpus PER_NODE [--partition P] [--account A] [--time T] [--restarts N] [--dry-run] -- COMMAND..." >&2; }
die() { echo "slurm.sh: $1" >&2; usage; exit 2; }

nodes="" gpus="" partition="" account="" time="24:00:00" restarts=100 dry_run=""
while (($#)); do
  case "$1" in
    --nodes | --gpus | --partition | --account | --time | --restarts)
      (($# > 1)) || die "$1 needs a value"
      declare "${1#--}=$2"
      shift 2 ;;
    --dry-run) dry_run=yes; shift ;;
    --) shift; break ;;
    *) die "unknown argument $1" ;;
  esac
done
[[ $nodes =~ ^[1-9][0-9]*$ ]] || die "--nodes '$nodes' is not a number above 0"
[[ $gpus =~ ^[1-9][0-9]*$ ]] || die "--gpus '$gpus' is not a number above 0"
[[ $restarts =~ ^[0-9]+$ ]] || die "--restarts $restarts is not a number"
(($#)) || die "no command; give one behind --, for example train --config ... --workdir ..."
[[ $1 == train || $1 == evaluate || $1 == sample ]] || die "$1 cannot be run by several processes; accepted: train, evaluate, sample"
[[ -x .venv/bin/python || -n $dry_run ]] || die "there is no .venv/bin/python here; call this in the repository"

# Every task sees all GPUs of its node and takes the one of its number: with --gpus-per-task it would not find it.
submit=(sbatch --parsable --requeue --open-mode append --output "slurm-%j.log" --job-name "t2i-$1" --nodes "$nodes"
  --ntasks-per-node "$gpus" --gres "gpu:$gpus" --time "$time" --signal TERM@120 --export "ALL,T2I_RESTARTS=$restarts")
[[ -z $partition ]] || submit+=(--partition "$partition")
[[ -z $account ]] || submit+=(--account "$account")
submit+=(launch/slurm.sbatch "$@")
if [[ -n $dry_run ]]; then printf '%q ' "${submit[@]}"; echo; exit 0; fi
job=$("${submit[@]}")
echo "job $job; watch: tail -f slurm-$job.log   stop: scancel --signal TERM $job (saves, then queues again) or scancel $job"
