//! A tree ensemble, flat: the operator `TreeEnsembleRegressor` of `ai.onnx.ml`, for one row and one target.
//!
//! A leaf is a node that leads to itself, so every tree of a group can be walked the same number of steps and there is no
//! branch to be guessed; eight walks at once hide each other's waiting for memory. Leaves are added up in `f64`, in
//! an order that the file alone decides, and rounded to the `f32` of the contract at the end.
//!
//! Invariant: whatever the tables say, [`Trees::new`] either refuses them or gives trees: from each root every node of
//! the tree is reached once, features are those of a row, and no walk is longer than [`DEPTH_MAX`].

use std::collections::HashMap;

/// Most trees in a model.
pub(crate) const TREES_MAX: usize = 20_000;
/// Most nodes in a model: 64 MiB of them, as many as an ONNX file of the size that is taken can hold.
pub(crate) const NODES_MAX: usize = 4 << 20;
/// Deepest tree. Leaf-wise growing makes deep ones, none near this.
pub(crate) const DEPTH_MAX: usize = 512;
/// Trees that are walked at once.
const LANES: usize = 8;

/// The operator's tables, as the file has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) tree_ids: Vec<i64>,
    pub(crate) node_ids: Vec<i64>,
    pub(crate) feature_ids: Vec<i64>,
    pub(crate) modes: Vec<Vec<u8>>,
    pub(crate) values: Vec<f32>,
    pub(crate) true_ids: Vec<i64>,
    pub(crate) false_ids: Vec<i64>,
    /// Empty, or one for each node.
    pub(crate) missing_is_true: Vec<i64>,
    pub(crate) leaf_tree_ids: Vec<i64>,
    pub(crate) leaf_node_ids: Vec<i64>,
    pub(crate) leaf_targets: Vec<i64>,
    pub(crate) leaf_weights: Vec<f32>,
    /// Empty, or one.
    pub(crate) base_values: Vec<f32>,
    /// Whether trees are averaged and not added up.
    pub(crate) averages: bool,
}

/// 16 bytes: four nodes a cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    /// `x <= threshold` leads to `below`. Of a leaf: its weight.
    threshold: f32,
    feature: u16,
    /// 1 when a missing value leads to `below`.
    missing_below: u16,
    below: u32,
    above: u32,
}

/// Trees that are walked at once, by their places in `nodes`.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    roots: [u32; LANES],
    /// How many of the lanes are trees; the rest walk the first one in vain.
    trees: usize,
    /// Depth of the deepest.
    steps: u32,
}

/// A tree ensemble that was checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trees {
    nodes: Vec<Node>,
    groups: Vec<Group>,
    features: usize,
    base: f64,
    divisor: f64,
}

impl Trees {
    /// Checks the tables and lays them out, for rows of so many features.
    ///
    /// # Errors
    /// The first thing that is wrong, with the attribute or the tree and node.
    pub(crate) fn new(tables: &Tables, features: usize) -> Result<Trees, String> {
        check_lengths(tables)?;
        let weights = leaf_weights(tables)?;
        let mut trees = Trees { nodes: Vec::new(), groups: Vec::new(), features, base: 0.0, divisor: 1.0 };
        trees.nodes.reserve_exact(tables.node_ids.len());
        let (mut from, mut roots) = (0, Vec::new());
        let mut seen = std::collections::HashSet::new();
        while from < tables.tree_ids.len() {
            let tree = tables.tree_ids[from];
            let more = tables.tree_ids[from..].iter().take_while(|id| **id == tree).count();
            if !seen.insert(tree) {
                return Err(format!("nodes_treeids: nodes of tree {tree} are not together"));
            }
            roots.push(trees.lay_out(tables, from..from + more, &weights)?);
            from += more;
        }
        if roots.len() > TREES_MAX {
            return Err(format!("{} trees; at most {TREES_MAX} are taken", roots.len()));
        }
        trees.base = tables.base_values.first().map_or(0.0, |base| f64::from(*base));
        trees.divisor = if tables.averages { roots.len() as f64 } else { 1.0 };
        trees.group(&roots);
        Ok(trees)
    }

    /// Lays one tree out in preorder; its root and its depth.
    fn lay_out(
        &mut self,
        tables: &Tables,
        range: std::ops::Range<usize>,
        weights: &HashMap<(i64, i64), f32>,
    ) -> Result<(u32, u32), String> {
        let tree = tables.tree_ids[range.start];
        let mut places = HashMap::with_capacity(range.len());
        for at in range.clone() {
            if places.insert(tables.node_ids[at], at).is_some() {
                return Err(format!("tree {tree}: node {} is there twice", tables.node_ids[at]));
            }
        }
        let root = self.nodes.len() as u32;
        let (mut reached, mut deepest) = (vec![false; range.len()], 0);
        // Node of the file, its depth, and which side of which laid node leads to it.
        let mut waiting = vec![(range.start, 0usize, None)];
        while let Some((at, depth, parent)) = waiting.pop() {
            let node_id = tables.node_ids[at];
            if std::mem::replace(&mut reached[at - range.start], true) {
                return Err(format!(
                    "tree {tree}: node {node_id} is reached by two ways, or leads back to itself"
                ));
            }
            if depth > DEPTH_MAX {
                return Err(format!("tree {tree}: deeper than {DEPTH_MAX}"));
            }
            deepest = deepest.max(depth);
            let own = self.nodes.len() as u32;
            match parent {
                Some((parent, true)) => self.nodes[parent as usize].below = own,
                Some((parent, false)) => self.nodes[parent as usize].above = own,
                None => {}
            }
            if tables.modes[at] == b"LEAF" {
                let weight = weights.get(&(tree, node_id));
                let weight =
                    weight.ok_or_else(|| format!("tree {tree}: leaf {node_id} has no target_weights"))?;
                let leaf = Node { threshold: *weight, feature: 0, missing_below: 0, below: own, above: own };
                self.nodes.push(leaf);
                continue;
            }
            let (node, swapped) = self.branch(tables, at)?;
            self.nodes.push(node);
            let child = |id: i64| {
                places
                    .get(&id)
                    .copied()
                    .ok_or_else(|| format!("tree {tree}: node {node_id} leads to {id}, which is none"))
            };
            let (yes, no) = (child(tables.true_ids[at])?, child(tables.false_ids[at])?);
            waiting.push((no, depth + 1, Some((own, swapped))));
            waiting.push((yes, depth + 1, Some((own, !swapped))));
        }
        let missed = reached.iter().filter(|reached| !**reached).count();
        if missed > 0 {
            return Err(format!("tree {tree}: {missed} of its nodes are not reached from the first"));
        }
        Ok((root, deepest as u32))
    }

    /// A branch as `x <= threshold`; and whether that is the opposite of what the file asks.
    fn branch(&self, tables: &Tables, at: usize) -> Result<(Node, bool), String> {
        let (tree, node_id, value) = (tables.tree_ids[at], tables.node_ids[at], tables.values[at]);
        if value.is_nan() {
            return Err(format!("tree {tree}: node {node_id} compares with NaN"));
        }
        // x < t is x <= the number before t; nothing is before the lowest, and nothing is at most NaN.
        let before = if value == f32::NEG_INFINITY { f32::NAN } else { value.next_down() };
        let (threshold, swapped) = match tables.modes[at].as_slice() {
            b"BRANCH_LEQ" => (value, false),
            b"BRANCH_LT" => (before, false),
            b"BRANCH_GT" => (value, true),
            b"BRANCH_GTE" => (before, true),
            other => {
                let mode = String::from_utf8_lossy(&other[..other.len().min(32)]).into_owned();
                return Err(format!(
                    "tree {tree}: node {node_id} has mode {mode:?}, which is not <, <=, > or >="
                ));
            }
        };
        let feature = usize::try_from(tables.feature_ids[at]).ok().filter(|feature| *feature < self.features);
        let Some(feature) = feature else {
            let (found, have) = (tables.feature_ids[at], self.features);
            return Err(format!("tree {tree}: node {node_id} asks for feature {found} of {have}"));
        };
        let missing_is_true = tables.missing_is_true.get(at).is_some_and(|is| *is != 0);
        let missing_below = u16::from(missing_is_true != swapped);
        Ok((Node { threshold, feature: feature as u16, missing_below, below: 0, above: 0 }, swapped))
    }

    /// Puts trees of like depth together, and keeps their order otherwise.
    fn group(&mut self, roots: &[(u32, u32)]) {
        let mut by_depth = roots.to_vec();
        by_depth.sort_by_key(|(_, depth)| *depth);
        for part in by_depth.chunks(LANES) {
            let mut group = Group { roots: [part[0].0; LANES], trees: part.len(), steps: 0 };
            for (lane, (root, depth)) in part.iter().enumerate() {
                group.roots[lane] = *root;
                group.steps = group.steps.max(*depth);
            }
            self.groups.push(group);
        }
    }

    /// The score of one row. Nothing is allocated.
    ///
    /// # Panics
    /// When the row has fewer features than the trees were made for.
    pub(crate) fn score(&self, row: &[f32]) -> f32 {
        let row = &row[..self.features];
        let mut sum = 0.0;
        for group in &self.groups {
            let mut places = group.roots;
            for _ in 0..group.steps {
                for place in &mut places {
                    let node = &self.nodes[*place as usize];
                    let value = row[usize::from(node.feature)];
                    let below = (value <= node.threshold) | (value.is_nan() & (node.missing_below != 0));
                    *place = if below { node.below } else { node.above };
                }
            }
            for place in &places[..group.trees] {
                sum += f64::from(self.nodes[*place as usize].threshold);
            }
        }
        (sum / self.divisor + self.base) as f32
    }

    /// How many trees there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.trees).sum()
    }
}

fn check_lengths(tables: &Tables) -> Result<(), String> {
    let nodes = tables.tree_ids.len();
    if nodes == 0 || nodes > NODES_MAX {
        return Err(format!("nodes_treeids has {nodes} nodes; 1 to {NODES_MAX} are taken"));
    }
    let lengths = [
        ("nodes_nodeids", tables.node_ids.len()),
        ("nodes_featureids", tables.feature_ids.len()),
        ("nodes_modes", tables.modes.len()),
        ("nodes_values", tables.values.len()),
        ("nodes_truenodeids", tables.true_ids.len()),
        ("nodes_falsenodeids", tables.false_ids.len()),
    ];
    let missing = ("nodes_missing_value_tracks_true", tables.missing_is_true.len());
    let missing = (!tables.missing_is_true.is_empty()).then_some(missing);
    if let Some((name, length)) = lengths.into_iter().chain(missing).find(|(_, length)| *length != nodes) {
        return Err(format!("{name} has {length} entries, nodes_treeids {nodes}"));
    }
    let leaves = tables.leaf_tree_ids.len();
    let lengths = [
        ("target_nodeids", tables.leaf_node_ids.len()),
        ("target_ids", tables.leaf_targets.len()),
        ("target_weights", tables.leaf_weights.len()),
    ];
    if let Some((name, length)) = lengths.into_iter().find(|(_, length)| *length != leaves) {
        return Err(format!("{name} has {length} entries, target_treeids {leaves}"));
    }
    if tables.base_values.len() > 1 || tables.base_values.iter().any(|base| !base.is_finite()) {
        return Err(format!(
            "base_values has {} entries; one finite number is taken",
            tables.base_values.len()
        ));
    }
    Ok(())
}

/// The weight of each leaf, by its tree and node.
fn leaf_weights(tables: &Tables) -> Result<HashMap<(i64, i64), f32>, String> {
    let mut weights = HashMap::with_capacity(tables.leaf_weights.len());
    for (at, weight) in tables.leaf_weights.iter().enumerate() {
        let (tree, node) = (tables.leaf_tree_ids[at], tables.leaf_node_ids[at]);
        if tables.leaf_targets[at] != 0 {
            return Err(format!(
                "tree {tree}: leaf {node} is of target {}; there is one, 0",
                tables.leaf_targets[at]
            ));
        }
        if !weight.is_finite() {
            return Err(format!("tree {tree}: leaf {node} has the weight {weight}"));
        }
        if weights.insert((tree, node), *weight).is_some() {
            return Err(format!("tree {tree}: leaf {node} has two weights"));
        }
    }
    Ok(weights)
}
