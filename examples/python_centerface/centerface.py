#!/usr/bin/env python3
"""Finds the faces in a picture with a compiled CenterFace.

    centerface.py MODEL.so PICTURE [--threads N]

Prints one face a line: x1 y1 x2 y2 score, then five landmarks, in pixels of the network's input.
"""

import argparse

import numpy as np
from PIL import Image

STRIDE = 4  # input pixels a cell of the output maps


def blob_of(path, height, width):
    """The picture as the network takes it: 1x3xHxW, RGB, 0-255."""
    picture = Image.open(path).convert("RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(picture, np.float32).transpose(2, 0, 1)[None])


def overlap(face, others):
    """Area of the intersection over area of the union, of one box with many."""
    width = np.minimum(face[2], others[:, 2]) - np.maximum(face[0], others[:, 0])
    height = np.minimum(face[3], others[:, 3]) - np.maximum(face[1], others[:, 1])
    both = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return both / ((face[2] - face[0]) * (face[3] - face[1]) + areas - both)


def faces_of(heat, scale, offset, landmarks, threshold=0.5, most_overlap=0.3):
    """The faces, best first: rows of x1 y1 x2 y2 score and five times x y. heat is 1x1xHxW, scale and offset 1x2xHxW
    (y before x), landmarks 1x10xHxW (y before x, in box sizes from the box's corner)."""
    bottom, right = (np.float32(STRIDE * size) for size in heat.shape[2:])
    rows, columns = np.nonzero(heat[0, 0] > threshold)
    height, width = np.exp(scale[0][:, rows, columns]) * np.float32(STRIDE)
    dy, dx = offset[0][:, rows, columns]
    y1 = np.clip((rows.astype(np.float32) + dy + np.float32(0.5)) * STRIDE - height / 2, 0, bottom)
    x1 = np.clip((columns.astype(np.float32) + dx + np.float32(0.5)) * STRIDE - width / 2, 0, right)
    score = heat[0, 0, rows, columns]
    points = landmarks[0][:, rows, columns]
    faces = [x1, y1, np.minimum(x1 + width, right), np.minimum(y1 + height, bottom), score]
    for i in range(5):
        faces += [x1 + points[2 * i + 1] * width, y1 + points[2 * i] * height]
    faces = np.stack(faces, axis=1)
    faces = faces[np.argsort(-score, kind="stable")]
    kept = []
    while len(faces):
        kept.append(faces[0])
        faces = faces[1:][overlap(faces[0], faces[1:]) <= most_overlap]
    return np.array(kept, np.float32).reshape(-1, 15)


def detect(session, picture):
    """The faces in a picture, and the network's raw outputs. `session` is a burnish.InferenceSession."""
    image = session.get_inputs()[0]
    outputs = session.run(None, {image.name: blob_of(picture, *image.shape[2:])})
    return faces_of(*outputs), outputs


def main():
    import burnish

    parser = argparse.ArgumentParser(description="Finds the faces in a picture with a compiled CenterFace.")
    parser.add_argument("model")
    parser.add_argument("picture")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    faces, _ = detect(burnish.InferenceSession(options.model, threads=options.threads), options.picture)
    for face in faces:
        print(*(f"{value:.4f}" if i == 4 else f"{value:.2f}" for i, value in enumerate(face)))


if __name__ == "__main__":
    main()
