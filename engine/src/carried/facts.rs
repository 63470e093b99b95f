//! Facts of a network as bytes, which cross the boundary of a dynamic library. Both sides share no Rust types, because
//! they may be built by different compilers.
//!
//! Numbers are 64 bits, little-endian. A text is its length and its UTF-8 bytes, a list its length and its items.

use super::rt;

/// Version of the format.
pub const VERSION: usize = 2;

#[derive(Default)]
struct Encoder(Vec<u8>);

impl Encoder {
    fn number(&mut self, value: usize) {
        self.0.extend((value as u64).to_le_bytes());
    }

    fn numbers(&mut self, values: &[usize]) {
        values.iter().for_each(|value| self.number(*value));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.number(items.len());
        items.iter().for_each(|one| item(self, one));
    }
}

/// Facts of the network's type.
pub fn of_network(info: &rt::NetworkInfo) -> Vec<u8> {
    let mut out = Encoder::default();
    out.number(VERSION);
    out.text(info.name);
    out.numbers(&info.input);
    out.numbers(&[info.classes, info.embedding, info.scratch_bytes, info.threads]);
    out.text(info.fusion);
    out.text(info.numerics.name());
    let conventions = info.conventions;
    for word in [conventions.activation.word(), conventions.padding.word(), conventions.precision.word()] {
        out.text(word);
    }
    out.text(conventions.dense_activation.map_or("", rt::Activation::word));
    out.list(info.isas, |out, isa| out.text(isa.name()));
    out.list(info.parameters, |out, parameter| {
        out.text(parameter.name);
        out.text(parameter.dtype.name());
        out.list(parameter.shape, |out, side| out.number(*side));
    });
    out.list(info.layers, |out, layer| {
        out.text(layer.name);
        out.numbers(&[layer.number, layer.step, layer.line, layer.macs]);
        out.numbers(&layer.output);
    });
    out.list(info.steps, |out, step| {
        out.text(step.name);
        out.numbers(&step.output);
        out.list(step.stages, |out, stage| {
            out.text(stage.name);
            out.numbers(&[stage.macs, stage.bytes]);
        });
    });
    out.0
}

/// Facts of one model: its instruction set, the bytes of its packed weights, and for each layer whether it uses the
/// fast inner product: 0: not supported, 1: supported but not used, 2: used.
pub fn of_model(model: &dyn rt::Network) -> Vec<u8> {
    let mut out = Encoder::default();
    out.number(VERSION);
    out.text(model.isa().name());
    out.number(model.packed_bytes());
    let fast: Vec<_> = (0..model.info().layers.len()).map(|index| model.is_fast(index)).collect();
    out.list(&fast, |out, fast| out.number(fast.map_or(0, |fast| 1 + usize::from(fast))));
    out.0
}
