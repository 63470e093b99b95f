
        /* The network reads gray pixels. */
        for (size_t pixel = 0; pixel < width * height; pixel++) {
            const uint8_t *color = pixels + pixel * 3;
            pixels[pixel] = (uint8_t)((19595u * color[0] + 38470u * color[1] + 7471u * color[2] + 32768u) >> 16);
        }
        length = width * height;