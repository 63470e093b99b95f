//! Prints the instructions of a call of the network on a Cortex-M4, and of each stage if `COUNT_STAGES` is set.
//!
//! QEMU with `-icount shift=0` executes one instruction per nanosecond of virtual time, and the board's clock runs at
//! 25 MHz. Without stages, the program formats nothing, so that the size of its code is that of the network.
#![no_std]
#![no_main]

#[path = "../../../tests/embedded/board.rs"]
mod board;

use core::ptr::{addr_of_mut, read_volatile, write_volatile};

use board::{Host, exit, with_stack};
use mbvc::__runtime::Number;
use mbvc::__runtime::quantized::Integral;
#[cfg(count_stages)]
use mbvc::Observer;
use mbvc::Scratch;

include!(concat!(env!("OUT_DIR"), "/network.rs"));

static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/image"));
/// What the interpreter computes: the name of a part, and its bytes.
static EXPECTED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/expected.rs"));

/// Name and predicted instruction count of each stage.
static PREDICTED: &[(&str, u32)] = include!(concat!(env!("OUT_DIR"), "/predicted.rs"));

/// Exit status if the logits are as expected, but a prediction is outside its tolerance.
const NOT_AS_PREDICTED: u32 = 2;

/// Instructions per tick.
const TICK: u32 = 40;
/// The counter has 24 bits: 671 million instructions.
const TICKS: u32 = 1 << 24;

/// The processor's timer, which counts down.
struct Clock;

impl Clock {
    fn start() -> Self {
        // SAFETY: the registers of the timer, which nothing else uses.
        unsafe {
            write_volatile(0xe000_e014 as *mut u32, TICKS - 1);
            write_volatile(0xe000_e018 as *mut u32, 0);
            write_volatile(0xe000_e010 as *mut u32, 0b101);
        }
        Self
    }

    /// Whether the counter wrapped since it was started or asked.
    fn has_wrapped(&self) -> bool {
        // SAFETY: as above; reading the register clears the bit.
        unsafe { read_volatile(0xe000_e010 as *const u32) & 1 << 16 != 0 }
    }

    fn now(&self) -> u32 {
        // SAFETY: as above.
        TICKS - unsafe { read_volatile(0xe000_e018 as *const u32) }
    }
}

fn instructions(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from) % TICKS * TICK
}

/// Adds up the instructions of each stage, and compares the result of each step with the interpreter's.
#[cfg(count_stages)]
struct Stages<'a> {
    clock: &'a Clock,
    last: u32,
    counts: &'a mut [[u32; 8]; 32],
    same: &'a mut bool,
}

#[cfg(count_stages)]
impl Observer for Stages<'_> {
    fn stage(&mut self, step: usize, stage: usize) {
        let now = self.clock.now();
        if let Some(count) = self.counts.get_mut(step).and_then(|stages| stages.get_mut(stage)) {
            *count += instructions(self.last, now);
        }
        self.last = self.clock.now();
    }

    fn bytes(&mut self, step: usize, output: &[u8]) {
        let name = Net::INFO.steps.get(step).and_then(|step| step.name.rsplit('+').next());
        *self.same &= is_expected(name.unwrap_or_default(), output);
        self.last = self.clock.now();
    }
}

#[inline(never)]
fn run() -> ! {
    static mut SCRATCH: Scratch<{ Net::SCRATCH_BYTES / 64 }> = Net::static_scratch();
    // SAFETY: the only reference, created once.
    let scratch = unsafe { &mut *addr_of_mut!(SCRATCH) };
    let Ok(model) = Net::embedded() else {
        Host.print("the packed weights are rejected\n");
        exit(1)
    };
    let image = IMAGE.first_chunk().unwrap_or_else(|| exit(1));
    let image = image.map(Number::from_element);
    let clock = Clock::start();
    let ((logits, whole), stack) = with_stack(|| {
        let before = clock.now();
        let logits = model.run(scratch, &image);
        (logits, instructions(before, clock.now()))
    });
    if clock.has_wrapped() {
        Host.print("the call takes more instructions than the counter holds\n");
        exit(1)
    }
    #[cfg_attr(not(count_stages), expect(unused_mut, reason = "only the stages change it"))]
    let mut same = is_expected("classifier", &logits.map(Integral::to_byte));
    let predicted: u32 = PREDICTED.iter().map(|(_, count)| count).sum();
    let call_is_predicted = PREDICTED.is_empty() || is_within(5, predicted, whole);
    #[cfg_attr(not(count_stages), expect(unused_mut, reason = "only the stages change it"))]
    let mut stages_are_predicted = true;
    #[cfg(count_stages)]
    {
        let (mut counts, last) = ([[0; 8]; 32], clock.now());
        model.run_with(scratch, &image, Stages { clock: &clock, last, counts: &mut counts, same: &mut same });
        for (step, counts) in Net::INFO.steps.iter().zip(&counts) {
            for (stage, count) in step.stages.iter().zip(counts) {
                print_number(*count);
                [" ", step.name, " ", stage.name, "\n"].into_iter().for_each(|text| Host.print(text));
                stages_are_predicted &= is_predicted(stage.name, *count, whole / 100);
            }
        }
    }
    print_number(whole);
    Host.print(" instructions, ");
    if PREDICTED.is_empty() {
        Host.print("    not predicted, ");
    } else {
        print_number(predicted);
        Host.print(if call_is_predicted { " predicted, " } else { " predicted (outside tolerance), " });
    }
    print_number(Net::SCRATCH_BYTES as u32);
    Host.print(" bytes of scratch, ");
    print_number(stack as u32);
    Host.print(" bytes of stack\n");
    Host.print(if same { "bit-exact with the interpreter\n" } else { "differs from the interpreter\n" });
    exit(match (same, call_is_predicted && stages_are_predicted) {
        (false, _) => 1,
        (true, false) => NOT_AS_PREDICTED,
        (true, true) => 0,
    })
}

/// Whether `found` is what the interpreter computes in a part of the network.
fn is_expected(name: &str, found: &[u8]) -> bool {
    let expected = EXPECTED.iter().find(|(part, _)| *part == name);
    let same = expected.is_some_and(|(_, bytes)| *bytes == found);
    if !same {
        ["differs from the interpreter: ", name, "\n"].into_iter().for_each(|text| Host.print(text));
    }
    same
}

/// Whether the predicted instruction count of a stage is within 10 percent of `count`. Call overhead dominates stages with
/// fewer than `least` instructions, so they are not checked.
#[cfg(count_stages)]
fn is_predicted(stage: &str, count: u32, least: u32) -> bool {
    let Some((_, predicted)) = PREDICTED.iter().find(|(name, _)| *name == stage) else { return PREDICTED.is_empty() };
    let close = count.max(*predicted) < least || is_within(10, *predicted, count);
    if !close {
        print_number(*predicted);
        [" instructions predicted for ", stage, ": off by more than 10 percent\n"]
            .into_iter()
            .for_each(|text| Host.print(text));
    }
    close
}

/// Whether `predicted` is within `percent` percent of `count`.
fn is_within(percent: u32, predicted: u32, count: u32) -> bool {
    predicted.abs_diff(count) <= count / 100 * percent
}

/// Prints a number, right-aligned.
fn print_number(mut number: u32) {
    let mut digits = [b' '; 12];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    Host.print(digits);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    Host.print("panic\n");
    exit(3)
}
