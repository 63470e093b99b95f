//! Files of `demo/`, for the crate that compiles the demo's network.

/// Weights of float32, as `mbvc import` writes them.
pub static MODEL: &[u8] = include_bytes!("../demo/model.safetensors");

/// Weights of int8.
pub static MODEL_INT8: &[u8] = include_bytes!("../demo/model-int8.safetensors");

/// Includes each sample under its file name.
macro_rules! samples {
    ($($name:literal)*) => { &[$(($name, include_bytes!(concat!("../demo/samples/", $name)))),*] };
}

/// Icons of a family that the network was not trained on (Microsoft's Fluent emoji, MIT). A file is named after what it
/// shows.
#[rustfmt::skip]
pub static SAMPLES: &[(&str, &[u8])] = samples! {
    "alarm-clock.png"
    "bicycle.png"
    "cactus.png"
    "cat.png"
    "elephant.png"
    "guitar.png"
    "lemon.png"
    "penguin.png"
    "pizza.png"
    "rocket.png"
    "strawberry.png"
    "umbrella.png"
};
