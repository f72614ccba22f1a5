//! Approximate nearest records: a walk through a graph of neighbors.
//!
//! HNSW (Malkov and Yashunin, arXiv 1603.09320) by way of `instant-distance`, which this file alone
//! names. Links are chosen by the paper's heuristic *without* its `keepPrunedConnections`: filling
//! every node up with the links the heuristic turned down took over ten times as long to build
//! 10,000 vectors of 48 dimensions, for a search about as fast at the same recall.
//!
//! **Repetition.** Histories repeat themselves, and equal vectors crowd each other's links and the
//! candidates of a search. A node is therefore a *distinct* vector, with all the records that have it.
//!
//! **Bytes.** A graph is built by one thread from a fixed seed, so the same vectors give the same
//! bytes. `instant-distance` serializes every node with all of its 64 slots; the file keeps the links
//! there are, as fixed-width numbers that load without decoding, and refers to the vectors by record.
//! Ids out of range would make the search panic, so all are checked before it sees them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::{once, repeat};
use std::sync::{Mutex, PoisonError};

use instant_distance::{Hnsw as Inner, PointId, Search};
use serde::de::value::{
    BorrowedBytesDeserializer, Error as Invalid, SeqAccessDeserializer, SeqDeserializer, U32Deserializer,
};
use serde::de::{DeserializeSeed, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::exact::scan;
use super::vectors::{Quantized, Row, Vectors, check_size};
use super::{Neighbor, Retriever};
use crate::error::{Error, Result};

/// Candidates kept during a search (`ef` in the paper).
const EF_SEARCH: usize = 64;

/// Candidates kept while a node is linked (`efConstruction` in the paper).
#[cfg(not(target_arch = "wasm32"))]
const EF_CONSTRUCTION: usize = 100;

/// Decides which layers a node is in; any value does, as long as it stays the same.
#[cfg(not(target_arch = "wasm32"))]
const SEED: u64 = 0x5045_4e4e_5952_5445;

/// Links per node above layer zero (`M` in the paper), fixed by instant-distance.
const M: usize = 32;

/// Links per node of layer zero.
const M0: usize = 2 * M;

/// The link of an unused slot.
const NONE: u32 = u32::MAX;

/// A graph over quantized vectors.
pub struct Hnsw {
    graph: Inner<Point>,
    nodes: Nodes,
    dimensions: usize,
    /// Buffers of the last search, for the next to use.
    scratch: Mutex<Search>,
}

impl Hnsw {
    /// Links `vectors`; record n is row n. Slow (a hundred thousand took 35 to 50 seconds on a busy
    /// machine), and an error in WebAssembly, which reads graphs built elsewhere.
    pub fn build(vectors: &Vectors) -> Result<Self> {
        let mut distinct: HashMap<&[i8], usize> = HashMap::new();
        let (mut points, mut members) = (Vec::new(), Vec::new());
        for (record, row) in (0..).zip(vectors.rows()) {
            let point = *distinct.entry(row.components).or_insert(points.len());
            if point == points.len() {
                points.push(Point::from(row));
                members.push(Vec::new());
            }
            members[point].push(record);
        }
        let (graph, ids) = build(points)?;
        let mut by_node: Vec<_> = ids.iter().map(|id| id.into_inner()).zip(&members).collect();
        by_node.sort_unstable_by_key(|(node, _)| *node);
        let nodes = Nodes::new(by_node.into_iter().map(|(_, records)| records.as_slice()));
        Ok(Hnsw { graph, nodes, dimensions: vectors.dimensions(), scratch: Mutex::default() })
    }

    /// Components per vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The vectors by record.
    pub(super) fn vectors(&self) -> Result<Vectors> {
        let mut by_record: Vec<_> = self.rows().collect();
        by_record.sort_unstable_by_key(|(record, _)| *record);
        let mut vectors = Vectors::new(self.dimensions)?;
        for (_, row) in by_record {
            vectors.push_quantized(row.components.iter().copied());
        }
        Ok(vectors)
    }

    /// Every record with its vector, in no order.
    fn rows(&self) -> impl Iterator<Item = (u32, Row<'_>)> {
        self.graph
            .iter()
            .flat_map(|(id, point)| self.nodes.records(id).iter().map(|&record| (record, point.row())))
    }
}

/// The records of each node.
struct Nodes {
    /// Those of node i are `records[ends[i - 1]..ends[i]]`, ascending.
    records: Vec<u32>,
    ends: Vec<u32>,
}

impl Nodes {
    fn new<'a>(nodes: impl Iterator<Item = &'a [u32]>) -> Self {
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        for node in nodes {
            records.extend(node);
            ends.push(records.len() as u32);
        }
        Nodes { records, ends }
    }

    fn records(&self, node: PointId) -> &[u32] {
        let node = node.into_inner() as usize;
        let start = if node == 0 { 0 } else { self.ends[node - 1] };
        &self.records[start as usize..self.ends[node] as usize]
    }
}

impl Retriever for Hnsw {
    fn len(&self) -> usize {
        self.nodes.records.len()
    }

    fn nearest(&self, embedding: &[f32], k: usize) -> Vec<Neighbor> {
        let query = Quantized::new(embedding);
        let k = k.min(self.len());
        let mut neighbors: Vec<Neighbor> = Vec::new();
        if k <= EF_SEARCH {
            let mut search =
                std::mem::take(&mut *self.scratch.lock().unwrap_or_else(PoisonError::into_inner));
            let found = self.graph.search(&Point::from(query.row()), &mut search);
            for item in found {
                let records = self.nodes.records(item.pid).iter().take(k);
                neighbors.extend(records.map(|&record| Neighbor { record, distance: item.distance }));
            }
            *self.scratch.lock().unwrap_or_else(PoisonError::into_inner) = search;
            neighbors.sort_unstable_by(|a, b| a.order(*b));
            neighbors.truncate(k);
        }
        // More than the search keeps, or a graph so poorly connected that it got stuck.
        if neighbors.len() < k { scan(query.row(), self.rows(), k) } else { neighbors }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn build(points: Vec<Point>) -> Result<(Inner<Point>, Vec<PointId>)> {
    let heuristic = instant_distance::Heuristic { extend_candidates: false, keep_pruned: false };
    let builder = instant_distance::Builder::default()
        .seed(SEED)
        .ef_construction(EF_CONSTRUCTION)
        .ef_search(EF_SEARCH)
        .select_heuristic(Some(heuristic));
    // More threads insert in an order, and so build a graph, that differs from run to run.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(Error::index)?;
    Ok(pool.install(|| builder.build_hnsw(points)))
}

#[cfg(target_arch = "wasm32")]
fn build(_: Vec<Point>) -> Result<(Inner<Point>, Vec<PointId>)> {
    Err(Error::index(
        "an HNSW graph cannot be built in WebAssembly; build it natively or take the exact backend",
    ))
}

/// A vector as instant-distance wants it: one it can own.
#[derive(Clone)]
struct Point {
    components: Box<[i8]>,
    square: i32,
}

impl Point {
    fn row(&self) -> Row<'_> {
        Row { components: &self.components, square: self.square }
    }
}

impl From<Row<'_>> for Point {
    fn from(row: Row) -> Self {
        Point { components: row.components.into(), square: row.square }
    }
}

impl instant_distance::Point for Point {
    fn distance(&self, other: &Self) -> f32 {
        self.row().distance(other.row())
    }
}

impl Serialize for Point {
    /// Nothing: the index keeps the vectors by record.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Ok(Quantized::from_components(bytes.iter().map(|&b| b as i8)).row().into())
    }
}

/// The graph in an index file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GraphBytes<'a> {
    /// The records of each node, node by node.
    #[serde(borrow)]
    records: Ids<'a>,
    /// Where each node's records end.
    #[serde(borrow)]
    ends: Ids<'a>,
    /// Layer zero, which has every node, then those above; each has the first nodes of the one below.
    #[serde(borrow)]
    layers: Vec<LayerBytes<'a>>,
}

/// The links of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LayerBytes<'a> {
    /// Links per node, a byte each.
    #[serde(borrow)]
    degrees: Cow<'a, [u8]>,
    /// The nodes linked to, node by node.
    #[serde(borrow)]
    links: Ids<'a>,
}

/// Ids as little-endian bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ids<'a>(#[serde(borrow)] Cow<'a, [u8]>);

impl Ids<'_> {
    fn new(ids: &[u32]) -> Self {
        Ids(ids.iter().flat_map(|id| id.to_le_bytes()).collect())
    }

    fn len(&self) -> Option<usize> {
        self.0.len().is_multiple_of(4).then_some(self.0.len() / 4)
    }

    fn iter(&self) -> impl Iterator<Item = u32> + Clone {
        self.0.as_chunks().0.iter().map(|&id| u32::from_le_bytes(id))
    }
}

impl LayerBytes<'_> {
    fn len(&self) -> usize {
        self.degrees.len()
    }

    /// Every node's links.
    fn nodes(&self) -> impl Iterator<Item = &[[u8; 4]]> {
        let mut rest = self.links.0.as_chunks().0;
        self.degrees.iter().map(move |&degree| {
            let (links, tail) = rest.split_at(usize::from(degree));
            rest = tail;
            links
        })
    }

    /// Whether each of its nodes has at most `most` links, all to nodes of the layer.
    fn is_sound(&self, most: usize) -> bool {
        let total: u64 = self.degrees.iter().map(|&degree| u64::from(degree)).sum();
        self.degrees.iter().all(|&degree| usize::from(degree) <= most)
            && self.links.len().is_some_and(|links| links as u64 == total)
            && self.links.iter().all(|id| (id as usize) < self.len())
    }
}

impl Hnsw {
    /// The graph for an index file.
    pub(super) fn to_graph(&self) -> Result<GraphBytes<'static>> {
        // The links are private to instant-distance; its serialization is where they can be read.
        let all = postcard::to_allocvec(&self.graph).map_err(Error::index)?;
        let mut reader = Reader(&all);
        let (_ef_search, _points) = (reader.number()?, reader.number()?);
        let mut layers = vec![reader.layer(M0)?];
        for _ in 0..reader.number()? {
            layers.push(reader.layer(M)?);
        }
        let Nodes { records, ends } = &self.nodes;
        Ok(GraphBytes { records: Ids::new(records), ends: Ids::new(ends), layers })
    }

    /// Reads a graph over `vectors`, given by record.
    pub(super) fn from_graph(
        graph: &GraphBytes,
        n: usize,
        dimensions: usize,
        vectors: &[u8],
    ) -> Result<Self> {
        check_size(dimensions, n, vectors)?;
        graph.check(n)?;
        let nodes = Nodes { records: graph.records.iter().collect(), ends: graph.ends.iter().collect() };
        let fields = Fields { read: 0, layers: &graph.layers, nodes: &nodes, dimensions, vectors };
        let graph = Inner::deserialize(SeqAccessDeserializer::new(fields)).map_err(Error::index)?;
        Ok(Hnsw { graph, nodes, dimensions, scratch: Mutex::default() })
    }
}

impl GraphBytes<'_> {
    /// Refuses what the search could not walk.
    fn check(&self, n: usize) -> Result<()> {
        let mut seen = vec![false; n];
        let all_once = self.records.len() == Some(n)
            && self.records.iter().all(|record| {
                seen.get_mut(record as usize).is_some_and(|seen| !std::mem::replace(seen, true))
            });
        let nodes = self.ends.len();
        let none_bare = nodes.is_some()
            && once(0).chain(self.ends.iter()).zip(self.ends.iter()).all(|(start, end)| start < end)
            && self.ends.iter().last().unwrap_or(0) as usize == n;
        if !all_once || !none_bare {
            return Err(Error::index("the graph does not have every record once"));
        }
        let smaller = |pair: &[LayerBytes]| pair[1].len() <= pair[0].len() && pair[1].len() > 0;
        let sound = self.layers.first().is_some_and(|zero| Some(zero.len()) == nodes && zero.is_sound(M0))
            && self.layers[1..].iter().all(|layer| layer.is_sound(M))
            && self.layers.windows(2).all(smaller);
        if sound { Ok(()) } else { Err(Error::index("the graph has links or layers that cannot be")) }
    }
}

/// Reads what postcard wrote of an [`Inner`].
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Result<u64> {
        let (number, rest) = postcard::take_from_bytes(self.0).map_err(Error::index)?;
        self.0 = rest;
        Ok(number)
    }

    fn layer(&mut self, slots: usize) -> Result<LayerBytes<'static>> {
        let nodes = self.number()?;
        let (mut degrees, mut links) = (Vec::new(), Vec::new());
        for _ in 0..nodes {
            let before = links.len();
            for _ in 0..slots {
                let id = self.number()? as u32;
                if id != NONE {
                    links.push(id);
                }
            }
            degrees.push((links.len() - before) as u8);
        }
        Ok(LayerBytes { degrees: degrees.into(), links: Ids::new(&links) })
    }
}

/// The fields of an [`Inner`] in their order, for its derived `Deserialize` to read.
struct Fields<'a> {
    read: usize,
    layers: &'a [LayerBytes<'a>],
    nodes: &'a Nodes,
    dimensions: usize,
    /// Rows by record, as [`Vectors::to_bytes`] writes them.
    vectors: &'a [u8],
}

impl<'de> SeqAccess<'de> for Fields<'de> {
    type Error = Invalid;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> std::result::Result<Option<T::Value>, Invalid> {
        let Fields { read, layers, nodes, dimensions, vectors } = self;
        *read += 1;
        let value = match read {
            1 => seed.deserialize(IntoDeserializer::<Invalid>::into_deserializer(EF_SEARCH as u64)),
            2 => seed.deserialize(SeqDeserializer::new(nodes.ends.iter().map(|&end| {
                let record = nodes.records[end as usize - 1] as usize;
                BorrowedBytesDeserializer::new(&vectors[record * *dimensions..][..*dimensions])
            }))),
            3 => seed.deserialize(layer::<M0>(&layers[0])),
            4 => seed.deserialize(SeqDeserializer::new(layers[1..].iter().map(layer::<M>))),
            _ => return Ok(None),
        };
        value.map(Some)
    }
}

/// A layer as a sequence of nodes with all of their `SLOTS`.
fn layer<'a, const SLOTS: usize>(
    layer: &'a LayerBytes<'a>,
) -> SeqDeserializer<impl Iterator<Item = impl IntoDeserializer<'a, Invalid>>, Invalid> {
    SeqDeserializer::new(layer.nodes().map(|links| {
        let ids = links.iter().map(|&id| u32::from_le_bytes(id)).chain(repeat(NONE)).take(SLOTS);
        Newtype(SeqDeserializer::new(ids.map(|id| Newtype(U32Deserializer::new(id)))))
    }))
}

/// A newtype struct around what the inner deserializer gives.
struct Newtype<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Newtype<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self.0)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> IntoDeserializer<'de, D::Error> for Newtype<D> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::retrieve::Exact;

    fn vectors(rows: &[Vec<f32>]) -> Vectors {
        let mut vectors = Vectors::new(rows.first().map_or(3, Vec::len)).unwrap();
        for row in rows {
            vectors.push(row).unwrap();
        }
        vectors
    }

    fn reload(hnsw: &Hnsw) -> Hnsw {
        let bytes = hnsw.vectors().unwrap().to_bytes();
        Hnsw::from_graph(&hnsw.to_graph().unwrap(), hnsw.len(), hnsw.dimensions, &bytes).unwrap()
    }

    #[test]
    fn nothing_to_find() {
        let empty = Hnsw::build(&vectors(&[])).unwrap();
        assert!(empty.nearest(&[1.0, 0.0, 0.0], 4).is_empty());
        assert!(reload(&empty).nearest(&[1.0, 0.0, 0.0], 4).is_empty());
    }

    #[test]
    fn many_equal_vectors_hide_no_other() {
        let mut rows = vec![vec![1.0, 0.0, 0.0]; 700];
        rows.extend(vec![vec![0.0, 1.0, 0.0]; 700]);
        let hnsw = Hnsw::build(&vectors(&rows)).unwrap();
        for hnsw in [&hnsw, &reload(&hnsw)] {
            let nearest: Vec<u32> = hnsw.nearest(&[0.0, 1.0, 0.01], 4).iter().map(|n| n.record).collect();
            assert_eq!(nearest, [700, 701, 702, 703]);
            assert_eq!(hnsw.nearest(&[0.0, 1.0, 0.01], 1_500).len(), 1_400);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_small_graph_finds_what_the_scan_finds(
            rows in proptest::collection::vec(proptest::collection::vec(-1.0f32..1.0, 4), 1..150),
            query in proptest::collection::vec(-1.0f32..1.0, 4),
            k in 0usize..160,
        ) {
            let vectors = vectors(&rows);
            let hnsw = Hnsw::build(&vectors).unwrap();
            let found = hnsw.nearest(&query, k);
            prop_assert_eq!(&found, &reload(&hnsw).nearest(&query, k));
            prop_assert_eq!(hnsw.vectors().unwrap(), vectors.clone());
            let exact = Exact::new(vectors).nearest(&query, k);
            prop_assert_eq!(found.len(), exact.len());
            let hits = found.iter().filter(|n| exact.contains(n)).count();
            prop_assert!(hits * 10 >= exact.len() * 9, "{} of {}", hits, exact.len());
        }
    }
}
