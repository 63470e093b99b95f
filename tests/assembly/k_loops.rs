//! The loops of pointwise kernels and of the stem over the products of an output (K loops).

use std::collections::BTreeSet;
use std::fmt;

use super::loops::{Architecture, InnerLoop, Instruction};

/// Vector registers of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    Zmm,
    Ymm,
    Neon,
}

impl Vectors {
    const ALL: [Self; 3] = [Self::Zmm, Self::Ymm, Self::Neon];

    /// Floats per vector.
    fn lanes(self) -> usize {
        match self {
            Self::Zmm => 16,
            Self::Ymm => 8,
            Self::Neon => 4,
        }
    }

    /// The operand of a multiply-add that is the sum in register `number`.
    fn operand(self, number: usize) -> String {
        match self {
            Self::Zmm => format!("zmm{number}"),
            Self::Ymm => format!("ymm{number}"),
            Self::Neon => format!("v{number}.4s"),
        }
    }

    fn of(operand: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vectors| (0..32).any(|number| vectors.operand(number) == operand))
    }

    /// A loop of independent multiply-adds.
    pub fn independent(self) -> Vec<String> {
        let (operation, count) = match self {
            Self::Zmm => ("vfmadd231ps", 28),
            Self::Ymm => ("vfmadd231ps", 13),
            Self::Neon => ("fmla", 28),
        };
        let [x, y] = [count, count + 1].map(|number| self.operand(number));
        (0..count).map(|number| format!("{operation} {}, {x}, {y}", self.operand(number))).collect()
    }
}

/// The sums of a tile: pixels by vectors of output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    pub vectors: Vectors,
    /// Whether vectors are half as long as those of the instruction set.
    pub is_half: bool,
    pub pixels: usize,
    pub count: usize,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pixels, count, .. } = self;
        if self.is_half { write!(f, "{pixels}x½") } else { write!(f, "{pixels}x{count}") }
    }
}

/// A K loop of the plain product.
#[derive(Debug)]
pub struct KLoop {
    pub kernel: String,
    pub form: Form,
    /// Multiply-adds per iteration.
    pub products: usize,
    /// Whether multiply-adds broadcast their memory operands.
    pub broadcasts: bool,
    pub instructions: Vec<Instruction>,
}

impl KLoop {
    /// Returns `None` for a loop that is not a K loop of float32 kernels for `isa`. A loop that stores results is over
    /// tiles: a short K loop inside was unrolled.
    pub fn new(inner: InnerLoop, isa: &str) -> Option<Self> {
        let (shape, of) = inner.kernel.split_once("__")?;
        let is_product = (shape.starts_with("f32_pw") || shape.starts_with("f32_conv")) && !shape.contains("_fast_");
        let products: Vec<&Instruction> = inner.instructions.iter().filter(|one| is_product_of(one)).collect();
        if of != isa || !is_product || products.is_empty() || inner.instructions.iter().any(stores_result) {
            return None;
        }
        let sums: BTreeSet<&str> = products.iter().map(|product| product.first_operand()).collect();
        let vectors = Vectors::of(sums.first()?)?;
        // `f32_pw_relu6_14x32_k24_...`: pixels of the widest tile by channels.
        let channels = shape.split('_').find_map(|part| {
            let (pixels, channels) = part.split_once('x')?;
            pixels.parse::<usize>().ok().and_then(|_| channels.parse::<usize>().ok())
        })?;
        let count = channels.div_ceil(vectors.lanes());
        let is_half = isa.starts_with("avx512") && vectors == Vectors::Ymm;
        let form = Form { vectors, is_half, pixels: sums.len() / count, count };
        let broadcasts = products.iter().any(|product| product.text.contains("{1to"));
        let products = products.len();
        Some(Self { form, products, broadcasts, kernel: inner.kernel, instructions: inner.instructions })
    }

    /// Returns the vector registers that the tile needs: for sums, weights and activations.
    pub fn registers(&self) -> usize {
        let Form { vectors, pixels, count, .. } = self.form;
        let activations = match vectors {
            Vectors::Neon => pixels,
            Vectors::Zmm | Vectors::Ymm => usize::from(!self.broadcasts),
        };
        pixels * count + count + activations
    }

    pub fn lines(&self) -> Vec<&str> {
        self.instructions.iter().map(|one| one.text.as_str()).collect()
    }
}

fn is_product_of(instruction: &Instruction) -> bool {
    ["vfmadd", "fmla"].iter().any(|operation| instruction.operation().starts_with(operation))
}

/// Whether an instruction stores a vector outside of the stack.
fn stores_result(instruction: &Instruction) -> bool {
    let text = &instruction.text;
    let is_store = match text.starts_with("st") {
        true => !text.contains("[sp"),
        false => text.starts_with('v') && instruction.first_operand().contains('['),
    };
    is_store && !instruction.first_operand().contains("[rsp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::inner_loops;

    fn k_loop(architecture: Architecture, kernel: &str, isa: &str, body: &str) -> Option<KLoop> {
        let text = format!("{kernel}__{isa}:\n.L1:\n{body}\n\tjne\t.L1\n");
        KLoop::new(inner_loops(&text, architecture).pop()?, isa)
    }

    #[test]
    fn reads_the_tile_of_a_loop() {
        let body = "vmovups zmm4, zmmword ptr [rsi]\nvfmadd231ps zmm0, zmm4, dword ptr [rcx]{1to16}\n\
                    vfmadd231ps zmm1, zmm4, dword ptr [rcx + 4]{1to16}";
        let found = k_loop(Architecture::X86, "f32_pw_relu6_14x16_k24", "avx512", body).expect("a K loop");
        assert_eq!((found.form.to_string().as_str(), found.products, found.registers()), ("2x1", 2, 3));
        let body = "vfmadd231ps ymm0, ymm1, ymm2\nvfmadd231ps ymm3, ymm1, ymm2";
        let found = k_loop(Architecture::X86, "f32_pw_28x8_k24", "avx512", body).expect("a K loop");
        assert_eq!(found.form.to_string(), "2x½");
        let body = "ldr q3, [x0], #16\nfmla v0.4s, v3.4s, v2.s[0]\nfmla v1.4s, v3.4s, v2.s[1]";
        let found = k_loop(Architecture::Arm, "f32_conv3x3_7x8_k27", "neon", body).expect("a K loop");
        assert_eq!((found.form.to_string().as_str(), found.products, found.registers()), ("1x2", 2, 5));
    }

    #[test]
    fn other_loops_are_no_k_loops() {
        let product = "vfmadd231ps ymm0, ymm1, ymm2";
        assert!(k_loop(Architecture::X86, "f32_pw_2x8_k24", "avx2", product).is_some());
        assert!(k_loop(Architecture::X86, "f32_pw_fast_2x8_k24", "avx2", product).is_none());
        assert!(k_loop(Architecture::X86, "f32_dw3x3s1_2x8", "avx2", product).is_none());
        assert!(k_loop(Architecture::X86, "f32_pw_2x8_k24", "avx2", "vmulps ymm0, ymm1, ymm2").is_none());
        let stores = format!("{product}\nvmovups ymmword ptr [rdi], ymm0");
        assert!(k_loop(Architecture::X86, "f32_pw_2x8_k24", "avx2", &stores).is_none());
    }
}
