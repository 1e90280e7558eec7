"""Write a contact sheet of a dataset in any views, as models are shown them: a PNG and a page.

    python -m launch.stimuli --config=configs/stimuli.py --config.directory=flickr8k
    python -m launch.stimuli --config.dataset=coco_val2017 --config.directory=coco \
        --config.image_views='("original", "things_only", "rotation:angle=30,corners=mean")'
"""

from launch import entry

CONFIG, WORKDIR = entry.define("configs/stimuli.py", "workdir")


def main() -> None:
    """From flags to views to a sheet."""
    from launch import datasets
    from vla.experiments.names import field_names
    from vla.models import load_model
    from vla.report.contact_sheet import choose_views, contact_sheet, write_contact_sheet
    from vla.stimuli import Tagger

    config = CONFIG.value.to_dict()
    dataset = datasets.read(config)
    tagger = Tagger(config["tagger"], config["tags"] or "default", show_progress=True)
    views, absent = choose_views(dataset, config["image_views"], config["caption_views"], config["seed"], tagger)
    model = config["vision_model"]
    ignored = field_names(config["ignore_fields"])
    preprocess = load_model(model, weights=False, ignore_fields=ignored).preprocess if model else None
    sheet = contact_sheet(dataset, views, config["n_shown"], config["side"], preprocess, absent)
    for path in write_contact_sheet(sheet, entry.directory(WORKDIR.value) / "stimuli"):
        print(path)


if __name__ == "__main__":
    entry.run(main)
