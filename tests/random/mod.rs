//! Random specs, and a crate of all their networks.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use mbvc_compiler::ir::{Graph, Op};

/// Maximum multiply-adds of a network: unoptimized code takes a second for a few million.
pub const MOST_MACS: usize = 4_000_000;

/// Uniform numbers, the same for the same seed on every machine (Steele, Lea and Flood 2014: SplitMix).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `from..=to`.
    pub fn within(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % (to - from + 1) as u64) as usize
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0, choices.len() - 1)]
    }

    /// Height and width: most are tiny, odd, very flat or very tall.
    fn resolution(&mut self) -> [usize; 2] {
        match self.within(0, 9) {
            0..3 => [self.within(1, 9), self.within(1, 9)],
            3..5 => [self.within(10, 40), self.within(10, 40)],
            5..7 => [self.within(1, 7), self.within(50, 300)],
            7 => [self.within(40, 80), self.within(1, 7)],
            8 => [self.within(1, 40) * 2 - 1, self.within(1, 75) * 2 - 1],
            _ => [self.within(1, 80), self.within(1, 300)],
        }
    }

    pub fn spec(&mut self) -> String {
        let [height, width] = self.resolution();
        let multiplier = self.within(2, 40) as f64 / 20.0;
        // Fewer would be rounded to 0.
        let least = (1.0 / multiplier).ceil() as usize;
        let mut text = format!(
            "name: Net\nwidth: {multiplier}\nresolution: [{height}, {width}]\npadding: {}\nactivation: {}\ninput: {}\nclasses: {}\n\
             stem: {{ channels: {}, stride: {} }}\nblocks:\n",
            self.one_of(&["same", "symmetric"]),
            self.one_of(&["relu6", "relu6", "relu"]),
            self.one_of(&["rgb", "rgb", "gray"]),
            self.within(1, 40),
            self.within(least, 80),
            self.within(1, 2),
        );
        let mut channels = self.within(least, 100);
        for _ in 0..self.within(1, 4) {
            // Rows of equal width have residuals in their first block too.
            if self.within(0, 2) > 0 {
                channels = self.within(least, 100);
            }
            let (t, n, s) = (self.within(1, 7), self.one_of(&[1, 1, 2, 3]), self.one_of(&[1, 1, 2]));
            let residual = self.one_of(&["", "", "", ", residual: false"]);
            let _ = writeln!(text, "  - {{ t: {t}, c: {channels}, n: {n}, s: {s}{residual} }}");
        }
        let dense = match self.within(0, 4) {
            0 => format!(", dense: {}", self.within(1, 70)),
            1 => {
                let activation = self.one_of(&["relu6", "relu"]);
                format!(", dense: [{}, {}], dense_activation: {activation}", self.within(1, 70), self.within(1, 40))
            }
            _ => String::new(),
        };
        let _ = writeln!(text, "head: {{ channels: {}{dense} }}", self.within(least, 80));
        text
    }
}

pub fn macs(graph: &Graph) -> usize {
    let elements = |id| graph.param(id).shape.iter().product::<usize>();
    graph.order().expect("acyclic").into_iter().map(|id| graph.node(id)).fold(0, |sum, node| {
        let weights = match &node.op {
            Op::Conv2d(conv) => elements(conv.weight),
            Op::DepthwiseConv2d(conv) => elements(conv.weight),
            _ => 0,
        };
        sum + weights * node.tensor.shape.pixels()
    })
}

/// Writes a crate with this name to `folder` and builds it without optimization. Returns the path of its program.
pub fn build(folder: &Path, name: &str, code: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let runtime = root.join("runtime");
    // A separate workspace with the same versions of dependencies, so that nothing is downloaded.
    let manifest = format!(
        "[package]\nname = {name:?}\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         mbvc = {{ path = {root:?} }}\nmbvc-runtime = {{ path = {runtime:?} }}\n\n\
         [profile.dev]\ndebug = false\nincremental = false\n"
    );
    fs::create_dir_all(folder.join("src")).expect("a folder below the target folder");
    fs::write(folder.join("Cargo.toml"), manifest).expect("written");
    fs::write(folder.join("src/main.rs"), code).expect("written");
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("copied");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("user_target");
    let output = Command::new(env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")))
        .args(["build", "--offline", "--color=never"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs this test too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug").join(name).with_extension(env::consts::EXE_EXTENSION)
}

pub fn number(variable: &str, usual: usize) -> usize {
    env::var(variable).map_or(usual, |value| value.parse().expect("a whole number"))
}
