//! Executes a graph in order, generic over the number type.

use mbvc_compiler::ir::{Fused, Graph, NodeId, Op, Origin, Shape, Tensor};

use super::error::InterpError;
use super::kernels::Image;
use super::memory::Memory;
use super::real::Number;

/// Arithmetic of operations on one number type.
pub trait Arithmetic {
    type Number: Number;

    /// Computes one unfused operation on verified inputs; `output` is the type of its NHWC result.
    fn apply(
        &self,
        op: &Op,
        inputs: &[Image<'_, Self::Number>],
        output: Tensor,
    ) -> Result<Vec<Self::Number>, InterpError>;
}

/// Observes the value of every operation in NHWC.
pub type See<'s, T> = dyn FnMut(&Origin, Tensor, &[T]) + 's;

/// The shape of the input image.
pub fn input_shape(graph: &Graph) -> Shape {
    let input = graph.ids().find(|id| matches!(graph.node(*id).op, Op::Input));
    input.map_or(Shape::new(0, 0, 0), |id| graph.node(id).tensor.shape)
}

pub struct Machine<'g, A: Arithmetic> {
    graph: &'g Graph,
    arithmetic: A,
    memory: Memory<'g, A::Number>,
}

impl<'g, A: Arithmetic> Machine<'g, A> {
    pub fn new(graph: &'g Graph, arithmetic: A) -> Self {
        Self { graph, arithmetic, memory: Memory::new(graph) }
    }

    /// Executes the graph on an image of the right length.
    pub fn run(mut self, image: &[A::Number], see: &mut See<'_, A::Number>) -> Result<(), InterpError> {
        for id in self.graph.order().unwrap_or_default() {
            let node = self.graph.node(id);
            let value = match &node.op {
                Op::Input => image.to_vec(),
                Op::Fused(fused) => self.fused(id, fused, see)?,
                op => {
                    let inputs = self.inputs(id);
                    let inputs: Vec<_> = inputs.iter().map(view).collect();
                    self.arithmetic.apply(op, &inputs, node.tensor)?
                }
            };
            // The last stage has reported it.
            if !matches!(node.op, Op::Fused(_)) {
                see(&node.origin, node.tensor, &value);
            }
            self.memory.write(id, value);
        }
        Ok(())
    }

    fn inputs(&self, id: NodeId) -> Vec<(Tensor, Vec<A::Number>)> {
        let inputs = self.graph.inputs(id).into_iter();
        inputs.map(|input| (self.graph.node(input).tensor, self.memory.read(input))).collect()
    }

    fn fused(
        &mut self,
        id: NodeId,
        fused: &Fused,
        see: &mut See<'_, A::Number>,
    ) -> Result<Vec<A::Number>, InterpError> {
        let mut read = self.inputs(id).into_iter();
        let Some(mut value) = read.next() else { return Ok(Vec::new()) };
        let added: Vec<_> = read.collect();
        self.memory.poison(fused);
        for (at, stage) in fused.stages.iter().enumerate() {
            let mut inputs = vec![view(&value)];
            if at + 1 == fused.stages.len() {
                inputs.extend(added.iter().map(view));
            }
            let result = self.arithmetic.apply(&stage.op, &inputs, stage.tensor)?;
            see(&stage.origin, stage.tensor, &result);
            value = (stage.tensor, result);
        }
        Ok(value.1)
    }
}

fn view<T>((tensor, values): &(Tensor, Vec<T>)) -> Image<'_, T> {
    Image { shape: tensor.shape, quant: tensor.quant, values }
}
