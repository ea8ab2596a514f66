"""`t2i compare` as a person calls it: several systems on the same pictures, used again, mistakes in one line."""

import json
import re
import shutil

import pytest
from running import CONFIGS, call

from t2i_jax.commands.compare import choose
from t2i_jax.data.prepared import Prepared
from t2i_jax.errors import UserError
from t2i_jax.training.checkpoint import newest_good

SYSTEMS = ("latent_gan", "dcgan")
NUM = 24


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A directory in which two systems were compared, data and evaluator made on the way; not to be changed."""
    out = tmp_path_factory.mktemp("compared") / "out"
    assert compare(out) == 0
    return out


def compare(out, *more, names=SYSTEMS):
    return call("compare", "--configs", *(CONFIGS / f"{name}.py" for name in names), "--preset", "tiny", "--out", out,
                "--evaluator", f"{CONFIGS / 'evaluator.py'}:tiny", "--num", NUM, *more)


def read(out):
    return json.loads((out / "compare.json").read_text(encoding="utf-8"))


def written(out):
    """When each file of checkpoints, cards and logs was written."""
    return {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file() and file.parent != out}


def test_both_systems_are_trained_on_one_data_set_and_judged_by_one_evaluator(compared):
    fingerprint = Prepared(compared / "data").fingerprint
    for name in (*SYSTEMS, "evaluator"):
        about = newest_good(compared / name)[1].about
        assert about["finished"] and about["data"] == fingerprint and not (compared / name / "data").exists()
    found = read(compared)
    assert found["data"]["fingerprint"] == fingerprint
    cards = {name: json.loads((compared / name / "evaluation/card.json").read_text()) for name in SYSTEMS}
    assert {card["evaluator"]["sha256"] for card in cards.values()} == {found["evaluator"]["sha256"]}
    for system in found["systems"]:
        model = [entry for entry in cards[system["name"]]["figures"] if entry["row"] == "model"]
        assert system["figures"] == model and system["model"]["name"].startswith(f"{system['name']}@")
        assert 0 < system["parameters"]["drawing"] < system["parameters"]["all"]
    assert [system["system"] for system in found["systems"]] == list(SYSTEMS)
    for timing in found["timings"].values():
        assert timing["training_images_per_second"] > 0 and timing["milliseconds_per_picture"] > 0


def test_prompts_come_from_every_group_and_from_captions_that_pictures_share(compared):
    groups = [item["group"] for item in read(compared)["prompts"]]
    assert [groups.count(group) for group in ("train", "heldout_compositions/A", "heldout_compositions/B",
                                              "heldout_concepts", "open prompts")] == [4] * 5, groups
    shared = [item["prompt"] for item in read(compared)["prompts"] if item["group"] == "open prompts"]
    rows = Prepared(compared / "data").words
    assert all(sum(prompt in row["captions"] for row in rows) > 1 for prompt in shared)


def test_the_page_holds_every_picture_and_loads_nothing(compared):
    page = (compared / "compare.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', page)
    assert 16 * (1 + 4 + 4) + 4 * (2 + 4 + 4) <= len(sources) <= 20 * 12
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<script" not in page and "url(" not in page and "href" not in page
    assert all(f"<th>{name}</th>" in page for name in ("real", *SYSTEMS, "ridge", "copy"))


def test_the_same_call_again_trains_nothing_and_gives_the_same_but_for_timings(compared, tmp_path, capsys):
    shutil.copytree(compared, tmp_path / "out")
    before = written(tmp_path / "out")
    capsys.readouterr()
    assert compare(tmp_path / "out") == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("|  | R train | FD train | R compositions/A |")
    assert len({line.count("|") for line in table[:7]}) == 1
    assert [line.split("|")[1].strip() for line in table[2:7]] == ["real pictures", *SYSTEMS, "ridge (baseline)",
                                                                   "copy (baseline)"]
    assert written(tmp_path / "out") == before
    first, second = read(compared), read(tmp_path / "out")
    speed = lambda found: [timing["training_images_per_second"] for timing in found["timings"].values()]
    assert speed(first) == speed(second)
    for found in (first, second):
        del found["timings"]
    assert first == second


def test_a_card_of_other_settings_or_a_changed_one_is_made_again(compared, tmp_path):
    out = shutil.copytree(compared, tmp_path / "out")
    one = ("latent_gan",)
    card = out / "latent_gan/evaluation/card.json"
    original = card.read_bytes()
    card.write_text("{}")
    assert compare(out, names=one) == 0
    assert card.read_bytes() == original
    assert compare(out, "--seed", 1, names=one) == 0
    assert card.read_bytes() != original and read(out)["settings"]["seed"] == 1


def test_a_finished_run_of_another_config_is_not_taken_for_this_one(compared, tmp_path, capsys):
    out = shutil.copytree(compared, tmp_path / "out")
    capsys.readouterr()
    assert compare(out, "--config.seed=3") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "holds a run with seed = 0, now 3; delete it" in error
    assert compare(out, "--config.run.keep=1", names=("dcgan",)) == 0


def test_configs_are_named_or_files_and_each_once(tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    assert choose(["latent_gan", "my/../configs/dcgan.py"][:1], "tiny") == {"latent_gan": "configs/latent_gan.py:tiny"}
    mine = tmp_path / "mine.py"
    mine.write_text("")
    assert choose([str(mine), "latent_gan:bilingual"], "") == {
        "mine": str(mine), "latent_gan": "configs/latent_gan.py:bilingual"}
    with pytest.raises(UserError, match="would be called 'latent_gan', which is taken"):
        choose(["latent_gan", "latent_gan:tiny"], "small")
    with pytest.raises(UserError, match="would be called 'evaluator'"):
        choose(["evaluator"], "small")


@pytest.mark.parametrize("arguments, message", [
    (["--configs", "nothing"], "there is no configs/nothing.py; give a file.py, or a name in configs/"),
    (["--configs", "latent_gan", "no/such.py"], "there is no no/such.py"),
    (["--configs"], "Missing option '--configs'"),
    (["--configs", "latent_gan", "coarse.py"], "data.resolution is 16 for latent_gan and 8 for coarse"),
    (["--configs", "judge.py"], "judge is a 'contrastive', which draws nothing"),
    (["--configs", "latent_gan", "--evaluator", "nowhere"], "neither a directory nor a config 'nowhere'"),
    (["--configs", "latent_gan", "--config.batch_sise=8"], "unknown key 'batch_sise'"),
])
def test_mistakes_end_in_one_line_with_nothing_written(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(CONFIGS)
    based_on = ("from t2i_jax.config import read\ndef get_config(arg):\n    config = read('configs/{}.py', arg)\n{}"
                "    return config\n")
    (tmp_path / "coarse.py").write_text(based_on.format("latent_gan", "    config.data.resolution = 8\n"))
    (tmp_path / "judge.py").write_text(based_on.format("evaluator", ""))
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert call("compare", *arguments, "--preset", "tiny", "--out", tmp_path / "out") == 2
    out, err = capsys.readouterr()
    assert not out and len(err.strip().splitlines()) == 1 and message in err, err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_evaluator_of_other_data_is_refused_before_any_training(compared, tmp_path, capsys):
    capsys.readouterr()
    assert call("compare", "--configs", CONFIGS / "latent_gan.py", "--preset", "tiny", "--out", tmp_path / "out",
                "--evaluator", compared / "evaluator", "--config.data.limit=20") == 2
    assert "trained on other data" in capsys.readouterr().err and not (tmp_path / "out/latent_gan").exists()
