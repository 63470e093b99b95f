"""Classification and embeddings of large data sets with Ray.

    >>> import mbvc, ray
    >>> from mbvc.ray import Classifier
    >>> photos = ray.data.read_parquet("photos/")                                # a column `image` of JPEG files
    >>> photos.map_batches(Classifier, fn_constructor_args=["model.mbvc"], concurrency=4).write_parquet("labels/")

``python -m mbvc.ray INPUT OUTPUT --model model.mbvc`` does this for whole folders, and resumes after an interruption.
"""

from ._batches import Classifier, Embedder

__all__ = ["Classifier", "Embedder"]
