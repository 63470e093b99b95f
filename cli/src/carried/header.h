/* @file@.h: @network@ of [@height@, @width@, 3] to @classes@ classes, @precision@, with its weights.
 * Made by mbvc @version@ for @target@.
 *
 * Compile with it:
 *   @compile@
 *
 * A model is made once and may be used by any number of threads at once; each of them has a
 * scratch of its own. Of the calls of the network, @name@_classify alone allocates memory. A mistake
 * of the library itself, and want of memory, end the process; nothing unwinds through these
 * functions.@threads@
 *
 * Pointers must lead to what they are said to lead to. Null pointers, wrong lengths, addresses that
 * are not aligned and two calls at once on one scratch are found and answered with a status below
 * zero. */

#ifndef @NAME@_H
#define @NAME@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The image: rows from the top, pixels from the left, in each red, green and blue. */
#define @NAME@_IMAGE_HEIGHT @height@
#define @NAME@_IMAGE_WIDTH @width@
#define @NAME@_IMAGE_CHANNELS 3
/* Values of an image. */
#define @NAME@_IMAGE_LENGTH (@NAME@_IMAGE_HEIGHT * @NAME@_IMAGE_WIDTH * @NAME@_IMAGE_CHANNELS)
/* Length of the logits: one for each class. */
#define @NAME@_CLASSES @classes@
/* Length of the vector before the classifier. */
#define @NAME@_EMBEDDING @embedding@
/* Bytes that a scratch takes, beside the logits. */
#define @NAME@_SCRATCH_BYTES @scratch@

/* What calls return; @name@_message says the same in words. */
#define @NAME@_OK 0
#define @NAME@_ERROR_NULL (-1)
#define @NAME@_ERROR_LENGTH (-2)
#define @NAME@_ERROR_ALIGNMENT (-3)
#define @NAME@_ERROR_BUSY (-4)

/* The network with its weights, packed for this processor. */
typedef struct @name@_model @name@_model;

/* The memory of a call. */
typedef struct @name@_scratch @name@_scratch;

/* A class that a picture may show, and how probable it is, from 0 to 1. */
typedef struct @name@_guess {
    int32_t id;
    float probability;
} @name@_guess;

/* A model, to be given to @name@_free; NULL if this processor has no instruction set that the network
 * was compiled for, or the variables MBVC_ISA or MBVC_NUMERICS of the environment ask for what there
 * is not. *error is then the reason, which lasts until the thread calls this function again or ends,
 * and NULL otherwise. error may be NULL. */
@name@_model *@name@_create(const char **error);

/* Takes a model back, which nobody may use any more; of NULL, nothing. */
void @name@_free(@name@_model *model);

/* A scratch, to be given to @name@_scratch_free. Any model of this library may use it. */
@name@_scratch *@name@_scratch_create(void);

/* Takes a scratch back; of NULL, nothing. */
void @name@_scratch_free(@name@_scratch *scratch);

/* From an image to the logits. The image is preprocessed: what the network was trained on.@rounds@
 * image_length is @NAME@_IMAGE_LENGTH, logits_length is @NAME@_CLASSES. */
int @name@_run(const @name@_model *model, @name@_scratch *scratch, const float *image,
    size_t image_length, float *logits, size_t logits_length);

/* @name@_run on the bytes of an image, which are preprocessed as the weights ask for. */
int @name@_run_pixels(const @name@_model *model, @name@_scratch *scratch, const uint8_t *pixels,
    size_t pixels_length, float *logits, size_t logits_length);
@embed@
/* What a picture of any size shows. Its pixels are red, green and blue bytes without padding, so that
 * pixels_length is width * height * 3; it is framed (@framing@) and preprocessed as the
 * weights ask for. Writes the count most probable classes, the best first, all of them if there are
 * no more. Returns how many it has written, or an error. */
int @name@_classify(const @name@_model *model, @name@_scratch *scratch, const uint8_t *pixels,
    size_t pixels_length, size_t width, size_t height, @name@_guess *guesses, size_t count);

/* The name of a class, in UTF-8, which lives as long as the model; NULL if the weights came without
 * names, or id is no class. */
const char *@name@_label(const @name@_model *model, int32_t id);

/* The instruction set whose kernels run, such as "avx2"; it lives as long as the model. */
const char *@name@_isa(const @name@_model *model);

/* What a status means; it lives as long as the library. */
const char *@name@_message(int status);

#ifdef __cplusplus
}
#endif

#endif
