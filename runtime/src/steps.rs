//! Calls in steps, for programs that cannot wait for a whole call.

/// Network whose calls can be computed in steps; `mobilenet_v2!` implements it for networks of one thread.
pub trait Stepped {
    /// Scratch of a call.
    type Scratch;
    /// Bytes of an image.
    type Pixels;
    /// Logits of an image.
    type Logits;
    /// The stored form of the logits, which the last step writes.
    type Elements;
    /// Number of steps.
    const COUNT: usize;
    /// Elements before the last step.
    const ZERO: Self::Elements;

    /// Computes step `step`, which reads what the steps before it left in the scratch. Only the last step writes
    /// `elements`.
    fn step(&self, step: usize, scratch: &mut Self::Scratch, pixels: &Self::Pixels, elements: &mut Self::Elements);

    /// Returns the logits that elements represent.
    fn logits(elements: Self::Elements) -> Self::Logits;
}

/// A call in progress, which the method `steps` of a network begins.
///
/// Other work can run between two steps: an interrupt loop resets its watchdog, an async task yields to its executor. The
/// scratch is borrowed until the call ends, because the values of the last step are in it.
///
/// ```ignore
/// let mut call = model.steps(&mut scratch, &pixels);
/// while call.advance() {
///     watchdog.feed();
/// }
/// let logits = call.finish();
/// ```
#[must_use = "a call computes nothing before its first step"]
#[derive(Debug)]
pub struct Steps<'a, N: Stepped> {
    network: &'a N,
    scratch: &'a mut N::Scratch,
    pixels: &'a N::Pixels,
    next: usize,
    elements: N::Elements,
}

impl<'a, N: Stepped> Steps<'a, N> {
    /// Begins a call.
    pub fn new(network: &'a N, scratch: &'a mut N::Scratch, pixels: &'a N::Pixels) -> Self {
        Self { network, scratch, pixels, next: 0, elements: N::ZERO }
    }

    /// Computes the next step. Returns `false`, and computes nothing, after the last one.
    pub fn advance(&mut self) -> bool {
        if self.next == N::COUNT {
            return false;
        }
        self.network.step(self.next, self.scratch, self.pixels, &mut self.elements);
        self.next += 1;
        true
    }

    /// Returns the index of the next step, as in the `STEPS` of the network; the number of steps after the last one.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Computes the steps that are left, and returns the logits.
    pub fn finish(mut self) -> N::Logits {
        while self.advance() {}
        N::logits(self.elements)
    }
}
