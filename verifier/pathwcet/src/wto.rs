//! Weak topological order of a graph (Bourdoncle 1993): nested components, each with a head, such that every edge either
//! goes forward in the order or to the head of a component that its source is in. Loops with several entries are
//! components like any other.

/// Order and nesting.
pub struct Order {
    /// Nodes in order.
    pub order: Vec<usize>,
    /// For every node, the heads of the components it is in, outermost first (a head is in its own).
    pub heads: Vec<Vec<usize>>,
    /// Heads of components that can be entered elsewhere.
    pub entered: Vec<usize>,
}

/// Part of the graph still to be ordered.
enum Todo {
    Part { nodes: Vec<usize>, outer: Vec<usize> },
    Node { node: usize, outer: Vec<usize> },
}

/// The order of the nodes reachable from `root`.
pub fn weak_order(succs: &[Vec<usize>], root: usize) -> Order {
    let reach = postorder(succs, &[root], &|_| true);
    let mut rank = vec![usize::MAX; succs.len()];
    for (at, node) in reach.iter().rev().enumerate() {
        rank[*node] = at;
    }
    let mut out = Order {
        order: Vec::new(),
        heads: vec![Vec::new(); succs.len()],
        entered: Vec::new(),
    };
    let mut todo = vec![Todo::Part {
        nodes: reach,
        outer: Vec::new(),
    }];
    while let Some(next) = todo.pop() {
        match next {
            Todo::Node { node, outer } => {
                out.order.push(node);
                out.heads[node] = outer;
            }
            Todo::Part { nodes, outer } => {
                let parts = components(succs, &nodes, &rank);
                // The last pushed is the first taken.
                for part in parts.into_iter().rev() {
                    split(succs, part, &outer, &rank, &mut todo, &mut out.entered);
                }
            }
        }
    }
    out
}

/// Pushes a component: its head, then the rest of it as a part of its own.
fn split(
    succs: &[Vec<usize>],
    mut part: Vec<usize>,
    outer: &[usize],
    rank: &[usize],
    todo: &mut Vec<Todo>,
    entered: &mut Vec<usize>,
) {
    let Some(head) = part.iter().copied().min_by_key(|n| rank[*n]) else {
        return;
    };
    let is_loop = part.len() > 1 || succs[head].contains(&head);
    if !is_loop {
        todo.push(Todo::Node {
            node: head,
            outer: outer.to_vec(),
        });
        return;
    }
    let mut inner = outer.to_vec();
    inner.push(head);
    let mut inside = vec![false; succs.len()];
    part.iter().for_each(|n| inside[*n] = true);
    let elsewhere = (0..succs.len())
        .filter(|n| rank[*n] != usize::MAX && !inside[*n])
        .any(|n| succs[n].iter().any(|s| *s != head && inside[*s]));
    if elsewhere {
        entered.push(head);
    }
    part.retain(|n| *n != head);
    todo.push(Todo::Part {
        nodes: part,
        outer: inner.clone(),
    });
    todo.push(Todo::Node {
        node: head,
        outer: inner,
    });
}

/// Strongly connected components of the part, in topological order (Kosaraju 1978).
fn components(succs: &[Vec<usize>], nodes: &[usize], rank: &[usize]) -> Vec<Vec<usize>> {
    let mut inside = vec![false; succs.len()];
    nodes.iter().for_each(|n| inside[*n] = true);
    let mut roots = nodes.to_vec();
    roots.sort_by_key(|n| rank[*n]);
    let finished = postorder(succs, &roots, &|n| inside[n]);
    let mut preds = vec![Vec::new(); succs.len()];
    for n in nodes {
        for s in succs[*n].iter().filter(|s| inside[**s]) {
            preds[*s].push(*n);
        }
    }
    let mut out = Vec::new();
    for root in finished.iter().rev() {
        if !inside[*root] {
            continue;
        }
        inside[*root] = false;
        let (mut part, mut at) = (vec![*root], 0);
        while let Some(n) = part.get(at).copied() {
            at += 1;
            for p in &preds[n] {
                if std::mem::take(&mut inside[*p]) {
                    part.push(*p);
                }
            }
        }
        out.push(part);
    }
    out
}

/// Nodes reachable from the roots inside the part, in the order in which a depth-first walk leaves them.
fn postorder(succs: &[Vec<usize>], roots: &[usize], inside: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let mut seen = vec![false; succs.len()];
    let mut out = Vec::new();
    for root in roots.iter().copied().filter(|r| inside(*r)) {
        if std::mem::replace(&mut seen[root], true) {
            continue;
        }
        let mut stack = vec![(root, 0usize)];
        while let Some((node, next)) = stack.pop() {
            let Some(s) = succs[node].get(next).copied() else {
                out.push(node);
                continue;
            };
            stack.push((node, next + 1));
            if inside(s) && !std::mem::replace(&mut seen[s], true) {
                stack.push((s, 0));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every edge goes forward or to the head of a component its source is in, on all graphs of four nodes.
    #[test]
    fn every_edge_goes_forward_or_to_a_head() {
        for bits in 0..1u32 << 16 {
            let succs: Vec<Vec<usize>> = (0..4)
                .map(|n| (0..4).filter(|s| bits >> (n * 4 + s) & 1 == 1).collect())
                .collect();
            let order = weak_order(&succs, 0);
            let mut rank = [usize::MAX; 4];
            order.order.iter().enumerate().for_each(|(at, n)| rank[*n] = at);
            for n in &order.order {
                for s in &succs[*n] {
                    assert!(rank[*s] != usize::MAX, "{bits:#x}: {s} is lost");
                    assert!(
                        rank[*n] < rank[*s] || order.heads[*n].contains(s),
                        "{bits:#x}: {n} to {s}"
                    );
                }
            }
        }
    }
}
