
/* Computes the pooled vector, for similarity and transfer learning; embedding_length
 * is @NAME@_EMBEDDING. */
int @name@_embed(const @name@_model *model, @name@_scratch *scratch, const float *image,
    size_t image_length, float *embedding, size_t embedding_length);
