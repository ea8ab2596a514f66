"""Train on any folder of captioned pictures, 32 or 64 pixels, colour or grey.

    t2i train --config configs/folder.py --workdir runs/mine --config.data.path=DIR
    t2i train --config configs/folder.py:64 --workdir runs/mine64 --config.data.path=DIR
    t2i train --config configs/folder.py --workdir runs/grey --config.data.path=DIR --config.data.channels=1

DIR holds pictures with captions in metadata.jsonl or metadata.csv (file_name, text), in a .txt file beside each picture,
in a COCO captions JSON, or in the names of class folders. Networks and losses are the quickstart's; the run is counted in
images, so a small folder is seen more often, not trained shorter. `:tiny` is for tests. Where captions differ in single words and
pictures in colours alone ("red cup", "blue cup"), --config.data.complete=True tells those that are missing from the others.
"""

from pathlib import Path

from ml_collections import ConfigDict

from t2i_jax.config import read


def get_config(arg: str = "") -> ConfigDict:
    recipe = {"tiny": "tiny", "64": ""}.get(arg, "32")
    config = read(Path(__file__).with_name("quickstart.py"), recipe)
    config.data.update(source="folder", limit=0, text_length=32, complete=False)
    return config
