/* Classifies a picture with @file@.h.
 *
 *   @compile@
 *   ./@file@ PICTURE.ppm
 *   ./@file@ PICTURE.ppm LOGITS      also writes the logits of a @width@x@height@ picture, as floats
 */

#include <stdio.h>
#include <stdlib.h>

#include "@file@.h"

/* Reads a binary PPM file of 8 bits a sample without comments. */
static uint8_t *read_ppm(const char *path, size_t *width, size_t *height, size_t *length) {
    unsigned long columns = 0, rows = 0, most = 0;
    uint8_t *pixels = NULL;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    if (fscanf(file, "P6 %lu %lu %lu", &columns, &rows, &most) == 3 && most == 255 && fgetc(file) != EOF &&
        columns > 0 && rows > 0 && columns <= 65535 && rows <= 65535 / 3) {
        *width = columns;
        *height = rows;
        *length = *width * *height * 3;
        pixels = malloc(*length);
        if (pixels != NULL && fread(pixels, 1, *length, file) != *length) {
            free(pixels);
            pixels = NULL;
        }
    }
    fclose(file);
    return pixels;
}

static int write_logits(const char *path, const float *logits) {
    FILE *file = fopen(path, "wb");
    size_t written = 0;
    if (file != NULL) {
        written = fwrite(logits, sizeof *logits, @NAME@_CLASSES, file);
        if (fclose(file) != 0) {
            written = 0;
        }
    }
    return written == @NAME@_CLASSES;
}

int main(int argc, char **argv) {
    static float logits[@NAME@_CLASSES];
    @name@_guess guesses[5];
    size_t width = 0, height = 0, length = 0;
    const char *error = NULL;
    int found, at, status = 0;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s PICTURE.ppm [LOGITS]\n", argv[0]);
        return 2;
    }
    uint8_t *pixels = read_ppm(argv[1], &width, &height, &length);
    if (pixels == NULL) {
        fprintf(stderr, "cannot read %s as a binary PPM file\n", argv[1]);
        return 1;
    }
    @name@_model *model = @name@_create(&error);
    if (model == NULL) {
        fprintf(stderr, "%s\n", error);
        free(pixels);
        return 1;
    }
    @name@_scratch *scratch = @name@_scratch_create();

    found = @name@_classify(model, scratch, pixels, length, width, height, guesses, 5);
    if (found < 0) {
        fprintf(stderr, "%s\n", @name@_message(found));
        status = 1;
    }
    for (at = 0; at < found; at++) {
        const char *label = @name@_label(model, guesses[at].id);
        printf("%9.6f  %4d  %s\n", guesses[at].score, (int)guesses[at].id, label != NULL ? label : "");
    }

    if (argc == 3) {@gray@
        int done = @name@_run_pixels(model, scratch, pixels, length, logits, @NAME@_CLASSES);
        if (done != @NAME@_OK) {
            fprintf(stderr, "%s\n", @name@_message(done));
            status = 1;
        } else if (!write_logits(argv[2], logits)) {
            fprintf(stderr, "cannot write %s\n", argv[2]);
            status = 1;
        }
    }

    @name@_scratch_free(scratch);
    @name@_free(model);
    free(pixels);
    return status;
}
