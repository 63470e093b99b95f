//! The order in which the nodes of a graph are translated.

use crate::error::{ImportError, Result};

/// State of a node in a traversal of the nodes that it depends on.
#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

/// Returns the nodes that `roots` depend on, each after the nodes that it reads, which `inputs` returns. Nodes are numbers
/// below `count`.
///
/// # Errors
/// Those of `inputs`, and `cycle` for a node that depends on itself.
pub fn dependencies(
    count: usize,
    roots: impl IntoIterator<Item = usize>,
    inputs: impl Fn(usize) -> Result<Vec<usize>>,
    cycle: impl Fn(usize) -> Box<ImportError>,
) -> Result<Vec<usize>> {
    let mut states = vec![State::New; count];
    let mut order = Vec::new();
    // Nodes whose inputs are being visited, and the inputs that are left, the next one last.
    let mut stack: Vec<(usize, Vec<usize>)> = Vec::new();
    for root in roots {
        let mut next = Some(root);
        loop {
            match next.map(|at| (at, states[at])) {
                Some((at, State::New)) => {
                    states[at] = State::Open;
                    let mut left = inputs(at)?;
                    left.reverse();
                    stack.push((at, left));
                }
                Some((at, State::Open)) => return Err(cycle(at)),
                Some((_, State::Done)) | None => {}
            }
            let Some((at, left)) = stack.last_mut() else { break };
            next = left.pop();
            if next.is_none() {
                states[*at] = State::Done;
                order.push(*at);
                stack.pop();
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(edges: &[&[usize]], roots: &[usize]) -> Result<Vec<usize>> {
        let cycle = |at| ImportError::malformed(format!("cycle at {at}"));
        dependencies(edges.len(), roots.iter().copied(), |at| Ok(edges[at].to_vec()), cycle)
    }

    #[test]
    fn nodes_follow_those_that_they_read() {
        assert_eq!(order(&[&[1, 2], &[3], &[3], &[], &[0]], &[0]).unwrap(), [3, 1, 2, 0]);
        assert_eq!(order(&[&[], &[0, 0], &[1]], &[2, 0, 1]).unwrap(), [0, 1, 2]);
        assert!(order(&[&[1], &[2], &[1]], &[0]).unwrap_err().to_string().contains("cycle at 1"));
        assert!(order(&[&[0]], &[0]).is_err());
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let count = 100_000;
        let inputs = |at: usize| Ok(if at + 1 < count { vec![at + 1] } else { Vec::new() });
        let found = dependencies(count, [0], inputs, |_| ImportError::malformed("cycle")).unwrap();
        assert_eq!((found.len(), found[0]), (count, count - 1));
    }
}
