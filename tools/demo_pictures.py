#!/usr/bin/env python3
"""Lays out the demo's pictures so that both sides are multiples of 32, as CenterFace needs them.

    demo_pictures.py portrait PORTRAIT OUT      the portrait as it is, padded
    demo_pictures.py montage PORTRAIT OUT       960x544 with the portrait at six scales
    demo_pictures.py own PICTURE OUT            the user's: turned upright, at most 1280 pixels a side, padded
Prints HEIGHTxWIDTH.
"""

import sys

from PIL import Image, ImageOps

BACKGROUND = (96, 96, 96)


def padded(picture):
    width, height = (-(-side // 32) * 32 for side in picture.size)
    result = Image.new("RGB", (width, height), BACKGROUND)
    result.paste(picture, (0, 0))
    return result


def montage(portrait):
    result = Image.new("RGB", (960, 544), BACKGROUND)
    for x, y, side in [(0, 16, 512), (512, 0, 288), (512, 288, 256), (800, 0, 160), (800, 160, 128), (800, 288, 96)]:
        result.paste(portrait.resize((side, side), Image.Resampling.LANCZOS), (x, y))
    return result


def own(picture):
    picture = ImageOps.exif_transpose(picture)
    picture.thumbnail((1280, 1280), Image.Resampling.LANCZOS)
    return padded(picture)


def main():
    kind, source, target = sys.argv[1:]
    picture = Image.open(source)
    picture = {"portrait": padded, "montage": montage, "own": own}[kind](picture.convert("RGB"))
    picture.save(target)
    print(f"{picture.height}x{picture.width}")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"demo: {error}")
