"""Which of COCO's category ids the things and stuff of the microworld bear.

Things that COCO knows have COCO's own ids and names. The six that it does not know bear ids of the range of things
(1..90) that no published annotation uses. Stuff and what is above it have COCO-Stuff's ids (92..182).
"""

# Kind: (id, name, supercategory).
THINGS: dict[str, tuple[int, str, str]] = {
    "ball": (37, "sports ball", "sports"),
    "balloon": (30, "balloon", "sports"),
    "bird": (16, "bird", "animal"),
    "boat": (9, "boat", "vehicle"),
    "car": (3, "car", "vehicle"),
    "cat": (17, "cat", "animal"),
    "chair": (62, "chair", "furniture"),
    "cup": (47, "cup", "kitchen"),
    "fish": (29, "fish", "animal"),
    "flower": (45, "flower", "plant"),
    "house": (12, "house", "building"),
    "kite": (38, "kite", "sports"),
    "plane": (5, "airplane", "vehicle"),
    "star": (66, "star", "sky"),
    "tree": (26, "tree", "plant"),
    "umbrella": (28, "umbrella", "accessory"),
}
STUFF = {
    "brick wall": 171,  # wall-brick
    "grass": 124,  # grass
    "night sky": 157,  # sky-other
    "road": 149,  # road
    "sand": 154,  # sand
    "sea": 155,  # sea
    "snow": 159,  # snow
    "wooden floor": 118,  # floor-wood
}
SKY, WALL, PAVEMENT = 157, 173, 140  # sky-other, wall-other, pavement
# COCO-Stuff's pixel maps hold ids less one.
LABEL_OFFSET = -1


def around(stuff: str) -> tuple[int, int]:
    """The ids of what is above the horizon and of what is below it."""
    if stuff == "brick wall":
        return STUFF[stuff], PAVEMENT
    return (WALL if stuff == "wooden floor" else SKY), STUFF[stuff]
