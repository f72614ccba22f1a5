// y = x Wᵀ scale + bias, then GELU or added to what y holds.
//
// A workgroup computes a tile of TILE_M × TILE_N numbers, 16 steps of k at a time: all lanes fetch the
// next 16 columns of x and rows of Wᵀ into registers while they work on the last ones in workgroup
// memory. Each lane fetches 4 × 4 numbers of one of both, so there are TILE_M + TILE_N lanes, and each
// computes WIDE ? 8 × 8 : 4 × 4 numbers, in blocks of 4 × 4 that lie half a tile apart, so that lanes
// side by side read vectors side by side.
//
// Rows of x are stored transposed, [k][row]. Lanes that write the same four rows at different k would all
// hit one bank: the slot of four rows is therefore its number xor a multiple of k / 4 (SWIZZLE: as many
// slots as four k's of as many lanes fill, by the size of a slot).
//
// Where MIXED, products are added up in f16 over 16 steps (weights of int8 come as fractions of 127, so
// that sums stay far from the end of f16's range), and across them in f32.
//
// Prelude: N, K (multiples of 32 and of 16), TILE_M, TILE_N, WIDE, MIXED, SWIZZLE, GELU, ADD;
// math4 (of the products), in4 (of x), out4 (of y), stored4 and widen() (of W).

struct Batch { tokens: u32, texts: u32, first_text: u32 }

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> x: array<in4>; // [tokens][K / 4]
@group(0) @binding(2) var<storage, read> weight: array<stored4>; // [K][N / 4]
@group(0) @binding(3) var<storage, read> scale_bias: array<vec4<f32>>; // [2][N / 4]
@group(0) @binding(4) var<storage, read_write> y: array<out4>; // [tokens][N / 4]

// Numbers of four rows and four columns.
struct Block { a: math4, b: math4, c: math4, d: math4 }
struct Sum { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }

// What one lane computes: upper left, upper right, lower left, lower right; only the first unless WIDE.
struct Blocks { ul: Block, ur: Block, ll: Block, lr: Block }
struct Sums { ul: Sum, ur: Sum, ll: Sum, lr: Sum }

const SLOTS_M = TILE_M / 4;
const SLOTS_N = TILE_N / 4;

var<workgroup> x_tile: array<math4, 16 * SLOTS_M>;
var<workgroup> w_tile: array<math4, 16 * SLOTS_N>;

fn slot(rows: u32, k4: u32) -> u32 {
  return rows ^ (k4 * SWIZZLE % SLOTS_M);
}

// Rows 4·rows … of x at columns 4·k4 …, transposed: one vector of rows for each k.
fn fetch_x(rows: u32, k4: u32) -> Block {
  // Past the last row the last one is read again; what comes of it is not stored.
  let last = batch.tokens - 1;
  let a = math4(x[min(rows * 4, last) * (K / 4) + k4]);
  let b = math4(x[min(rows * 4 + 1, last) * (K / 4) + k4]);
  let c = math4(x[min(rows * 4 + 2, last) * (K / 4) + k4]);
  let d = math4(x[min(rows * 4 + 3, last) * (K / 4) + k4]);
  return Block(
    math4(a.x, b.x, c.x, d.x), math4(a.y, b.y, c.y, d.y), math4(a.z, b.z, c.z, d.z), math4(a.w, b.w, c.w, d.w),
  );
}

// Columns 4·columns … of Wᵀ at rows 4·k4 ….
fn fetch_w(columns: u32, k4: u32) -> Block {
  let at = k4 * N + columns;
  return Block(
    math4(widen(weight[at])), math4(widen(weight[at + N / 4])), math4(widen(weight[at + N / 2])),
    math4(widen(weight[at + 3 * N / 4])),
  );
}

fn add_product(sum: Block, m: math4, n: math4) -> Block {
  return Block(sum.a + m.x * n, sum.b + m.y * n, sum.c + m.z * n, sum.d + m.w * n);
}

// One step of k: the products of this lane's rows and columns.
fn advance(sums: ptr<function, Blocks>, rows: u32, rows_below: u32, columns: u32) {
  let m = x_tile[rows];
  let n = w_tile[columns];
  (*sums).ul = add_product((*sums).ul, m, n);
  if (WIDE) {
    let m_below = x_tile[rows_below];
    let n_right = w_tile[columns + SLOTS_N / 2];
    (*sums).ur = add_product((*sums).ur, m, n_right);
    (*sums).ll = add_product((*sums).ll, m_below, n);
    (*sums).lr = add_product((*sums).lr, m_below, n_right);
  }
}

fn widened(sum: Sum, part: Block) -> Sum {
  return Sum(
    sum.a + vec4<f32>(part.a), sum.b + vec4<f32>(part.b), sum.c + vec4<f32>(part.c), sum.d + vec4<f32>(part.d),
  );
}

fn all_widened(sums: Sums, parts: Blocks) -> Sums {
  var all = Sums();
  all.ul = widened(sums.ul, parts.ul);
  if (WIDE) {
    all.ur = widened(sums.ur, parts.ur);
    all.ll = widened(sums.ll, parts.ll);
    all.lr = widened(sums.lr, parts.lr);
  }
  return all;
}

// x Φ(x), the error function by formula 7.1.26 of Abramowitz and Stegun (absolute error 1.5e-7).
fn gelu(v: vec4<f32>) -> vec4<f32> {
  let z = abs(v) * 0.7071067811865476;
  let t = 1 / (1 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z); // 1 - Φ(|x|)
  return v * select(1 - tail, tail, v < vec4<f32>());
}

fn store(row: u32, column: u32, sum: vec4<f32>, scale: vec4<f32>, bias: vec4<f32>) {
  if (row >= batch.tokens) {
    return;
  }
  var value = sum * scale + bias;
  if (GELU) {
    value = gelu(value);
  }
  let at = row * (N / 4) + column;
  if (ADD) {
    value += vec4<f32>(y[at]);
  }
  y[at] = out4(value);
}

fn store_sum(rows: u32, column: u32, sum: Sum) {
  let scale = scale_bias[column];
  let bias = scale_bias[N / 4 + column];
  store(rows * 4, column, sum.a, scale, bias);
  store(rows * 4 + 1, column, sum.b, scale, bias);
  store(rows * 4 + 2, column, sum.c, scale, bias);
  store(rows * 4 + 3, column, sum.d, scale, bias);
}

@compute @workgroup_size(TILE_M + TILE_N)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first_rows = group.y * SLOTS_M;
  let first_columns = group.x * SLOTS_N;

  // What this lane fetches: the first TILE_M lanes of x, four side by side along k; the others of W, side by
  // side along its columns.
  let fetches_x = lane < TILE_M;
  let other = lane - TILE_M;
  let k_of_fetch = select(other / SLOTS_N, lane % 4, fetches_x);
  let fetched = select(other % SLOTS_N, lane / 4, fetches_x);

  // What it computes: 32 lanes take 4 × 8 slots, the fewest distinct vectors to read.
  let across = select(1u, TILE_N / 64, WIDE);
  let columns = lane % 8 + lane / 32 % across * 8;
  let rows = lane / 8 % 4 + lane / 32 / across * 4;

  var sums = Sums();
  var parts = Blocks();
  var next: Block;
  if (fetches_x) {
    next = fetch_x(first_rows + fetched, k_of_fetch);
  } else {
    next = fetch_w(first_columns + fetched, k_of_fetch);
  }
  for (var k = 0u; k < K / 4; k += 4) {
    workgroupBarrier();
    if (fetches_x) {
      let to = k_of_fetch * 4 * SLOTS_M + slot(fetched, k_of_fetch);
      x_tile[to] = next.a;
      x_tile[to + SLOTS_M] = next.b;
      x_tile[to + 2 * SLOTS_M] = next.c;
      x_tile[to + 3 * SLOTS_M] = next.d;
    } else {
      let to = k_of_fetch * 4 * SLOTS_N + fetched;
      w_tile[to] = next.a;
      w_tile[to + SLOTS_N] = next.b;
      w_tile[to + 2 * SLOTS_N] = next.c;
      w_tile[to + 3 * SLOTS_N] = next.d;
    }
    workgroupBarrier();
    if (k + 4 < K / 4) {
      if (fetches_x) {
        next = fetch_x(first_rows + fetched, k + 4 + k_of_fetch);
      } else {
        next = fetch_w(first_columns + fetched, k + 4 + k_of_fetch);
      }
    }
    for (var k4 = 0u; k4 < 4; k4 += 1) {
      let m = k4 * 4 * SLOTS_M + slot(rows, k4);
      let m_below = k4 * 4 * SLOTS_M + slot(rows + SLOTS_M / 2, k4);
      let n = k4 * 4 * SLOTS_N + columns;
      advance(&parts, m, m_below, n);
      advance(&parts, m + SLOTS_M, m_below + SLOTS_M, n + SLOTS_N);
      advance(&parts, m + 2 * SLOTS_M, m_below + 2 * SLOTS_M, n + 2 * SLOTS_N);
      advance(&parts, m + 3 * SLOTS_M, m_below + 3 * SLOTS_M, n + 3 * SLOTS_N);
    }
    if (MIXED) {
      sums = all_widened(sums, parts);
      parts = Blocks();
    }
  }
  sums = all_widened(sums, parts);

  store_sum(first_rows + rows, first_columns + columns, sums.ul);
  if (WIDE) {
    store_sum(first_rows + rows, first_columns + columns + SLOTS_N / 2, sums.ur);
    store_sum(first_rows + rows + SLOTS_M / 2, first_columns + columns, sums.ll);
    store_sum(first_rows + rows + SLOTS_M / 2, first_columns + columns + SLOTS_N / 2, sums.lr);
  }
}
