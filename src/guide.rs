#![doc = include_str!("links.md")]
#![doc = include_str!("../docs/guide/index.md")]

macro_rules! chapters {
    ($($name:ident $path:literal)*) => {
        $(
            #[doc = include_str!("links.md")]
            #[doc = include_str!("charts.md")]
            #[doc = include_str!($path)]
            pub mod $name {}
        )*
    };
}

chapters! {
    own_model "../docs/guide/own_model.md"
    models "../docs/guide/models.md"
    spec "../docs/guide/spec.md"
    library "../docs/guide/library.md"
    debug_builds "../docs/guide/debug_builds.md"
    threads "../docs/guide/threads.md"
    embedded "../docs/guide/embedded.md"
    web "../docs/guide/web.md"
    python "../docs/guide/python.md"
    scale "../docs/guide/scale.md"
    quantization "../docs/guide/quantization.md"
    one_layer "../docs/guide/one_layer.md"
    fusion "../docs/guide/fusion.md"
    numerics "../docs/guide/numerics.md"
    profile "../docs/guide/profile.md"
    benchmarks "../docs/benchmarks.md"
}
