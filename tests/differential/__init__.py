"""What nobody thought of: random layers, the rules that judge them, and the real podman that decides.

`make differential` makes layers by chance, and takes those of real tools. Each is compressed by the real
skopeo, judged by recompress.layer.partial, and pulled by the real podman: the gzip image, the twin in full,
and the twin partially. What podman then has of each layer, in its own directory in the image store, is
compared. Where the rules let a client pull partially, all trees have to be the same; where they do not, a
partial pull that gives the same tree was prevented for nothing, which may happen, but not often. A second arm
forges twins, and asks `recompress verify`: from what it takes for a twin podman has to get the same files.
"""
