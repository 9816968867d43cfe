"""The data sets of the papers' tables, and how they lie on disk."""

from __future__ import annotations

from .rows import DataSet

DATA_SETS: dict[str, DataSet] = {
    "imagenet": DataSet(
        title="ImageNet, ILSVRC 2012 (1,281,167 pictures to train on, 50,000 to test on)",
        layout="`imagenet/train/n01440764/n01440764_10026.JPEG` and `imagenet/val/n01440764/…`: the pictures of the "
        "validation split in folders of their classes, too",
        needs="ImageNet",
    ),
    "audioset": DataSet(
        title="AudioSet (1.7 million films of 10 s, 527 tags)",
        layout="`audioset/unbalanced_train_segments.csv`, `balanced_train_segments.csv`, `eval_segments.csv` and "
        "`class_labels_indices.csv` as published, and the clips in any folder below, named by their YouTube ids: "
        "`audioset/clips/Y--PJHxphWEs.mp4`",
        needs="AudioSet's clips",
    ),
    "modelnet40": DataSet(
        title="ModelNet40 (9,843 clouds of points to train on, 2,468 to test on)",
        layout="as `modelnet40_ply_hdf5_2048.zip` unpacks: `modelnet40/ply_data_train0.h5` to `ply_data_train4.h5`, "
        "`ply_data_test0.h5`, `ply_data_test1.h5` and `shape_names.txt`, 2,048 points a cloud; or as `ModelNet40.zip` "
        "unpacks: `modelnet40/airplane/train/airplane_0001.off`, meshes, from whose surfaces points are drawn",
        needs="ModelNet40",
    ),
    "texts": DataSet(
        title="C4 and English Wikipedia (70 % and 30 % of the bytes)",
        layout="`texts/train/…` and `texts/test/…`: a .txt file for each document, in any folders",
        needs="C4 and Wikipedia",
    ),
    "sst2": DataSet(
        title="SST-2 of GLUE (67,349 sentences; the figures are of the dev split)",
        layout="`sst2/train.tsv` and `sst2/dev.tsv` with the columns `sentence` and `label`",
        needs="GLUE",
    ),
    "autoflow": DataSet(
        title="AutoFlow (400,000 pairs of frames; 40,000 are public)",
        layout="a folder for each pair, as published: `autoflow/table_0_batch_0/im0.png`, `im1.png`, `forward.flo`",
        needs="AutoFlow",
    ),
    "sintel": DataSet(
        title="MPI Sintel (1,041 pairs of frames whose flow is known, each in two passes)",
        layout="as its zip unpacks: `sintel/training/clean/alley_1/frame_0001.png`, `final/…`, "
        "`flow/alley_1/frame_0001.flo`",
        needs="MPI Sintel",
    ),
    "kitti": DataSet(
        title="KITTI Flow 2015 (200 pairs of frames whose flow is known)",
        layout="as its zip unpacks: `kitti/training/image_2/000000_10.png`, `000000_11.png`, `flow_occ/000000_10.png`",
        needs="KITTI 2015",
    ),
    "kinetics": DataSet(
        title="Kinetics-700-2020 (films of 10 s, 700 classes)",
        layout="a folder for each class: `kinetics/train/abseiling/0347ZoDXyP0.mp4`, `kinetics/val/abseiling/…`",
        needs="Kinetics-700-2020",
    ),
}
