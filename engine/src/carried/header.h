/* @file@.h: @network@ of [@height@, @width@, @channels@] to @classes@ classes, @precision@, with its weights.
 * Written by mbvc @version@ for @target@.
 *
 * To compile a program with it:
 *   @compile@
 *
 * Any number of threads may use a model at once, each with its own scratch. Of the calls that run the
 * network, only @name@_classify allocates memory. A bug of the library and exhausted memory abort the
 * process; nothing unwinds through these functions.@threads@
 *
 * Pointers must be valid for their lengths. Null pointers, wrong lengths, misaligned pointers and
 * concurrent calls with one scratch return a status below zero. */

#ifndef @NAME@_H
#define @NAME@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The image: rows from the top, pixels from the left, @colors@ of each. */
#define @NAME@_IMAGE_HEIGHT @height@
#define @NAME@_IMAGE_WIDTH @width@
#define @NAME@_IMAGE_CHANNELS @channels@
/* Number of values of an image. */
#define @NAME@_IMAGE_LENGTH (@NAME@_IMAGE_HEIGHT * @NAME@_IMAGE_WIDTH * @NAME@_IMAGE_CHANNELS)
/* Number of logits@logits@. */
#define @NAME@_CLASSES @classes@
/* Length of the pooled vector. */
#define @NAME@_EMBEDDING @embedding@
/* Bytes of a scratch, without the logits. */
#define @NAME@_SCRATCH_BYTES @scratch@

/* Status of a call; @name@_message returns its text. */
#define @NAME@_OK 0
#define @NAME@_ERROR_NULL (-1)
#define @NAME@_ERROR_LENGTH (-2)
#define @NAME@_ERROR_ALIGNMENT (-3)
#define @NAME@_ERROR_BUSY (-4)

/* The network with its weights, packed for this processor. */
typedef struct @name@_model @name@_model;

/* The memory of a call. */
typedef struct @name@_scratch @name@_scratch;

/* A class and its score: @score@. */
typedef struct @name@_guess {
    int32_t id;
    float score;
} @name@_guess;

/* Creates a model, which @name@_free frees. Returns NULL if this processor supports no instruction set
 * that the network was compiled for, or if the environment variable MBVC_ISA or MBVC_NUMERICS is
 * invalid. *error is then the reason, which is valid until the thread calls this function again or
 * ends, and NULL otherwise. error may be NULL. */
@name@_model *@name@_create(const char **error);

/* Frees a model that no thread uses; NULL is ignored. */
void @name@_free(@name@_model *model);

/* Creates a scratch for any model of this library, which @name@_scratch_free frees. */
@name@_scratch *@name@_scratch_create(void);

/* Frees a scratch; NULL is ignored. */
void @name@_scratch_free(@name@_scratch *scratch);

/* Computes the logits of an image that is preprocessed as in training.@rounds@
 * image_length is @NAME@_IMAGE_LENGTH, logits_length is @NAME@_CLASSES. */
int @name@_run(const @name@_model *model, @name@_scratch *scratch, const float *image,
    size_t image_length, float *logits, size_t logits_length);

/* @name@_run on the bytes of an image, which are preprocessed as the weights specify. */
int @name@_run_pixels(const @name@_model *model, @name@_scratch *scratch, const uint8_t *pixels,
    size_t pixels_length, float *logits, size_t logits_length);
@embed@
/* Classifies a picture of any size. Its pixels are red, green and blue bytes without padding:
 * pixels_length is width * height * 3. It is @before@framed (@framing@) and preprocessed as the
 * weights specify. Writes the classes with the highest scores, at most count, the best first. Returns their
 * number, or an error. */
int @name@_classify(const @name@_model *model, @name@_scratch *scratch, const uint8_t *pixels,
    size_t pixels_length, size_t width, size_t height, @name@_guess *guesses, size_t count);

/* The name of a class, in UTF-8, valid as long as the model; NULL if the weights have no names or id
 * is not a class. */
const char *@name@_label(const @name@_model *model, int32_t id);

/* The instruction set of the kernels, such as "avx2", valid as long as the model. */
const char *@name@_isa(const @name@_model *model);

/* The text of a status, valid as long as the library is loaded. */
const char *@name@_message(int status);

#ifdef __cplusplus
}
#endif

#endif
