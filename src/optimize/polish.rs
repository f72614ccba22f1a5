//! From a feasible whole plan to a better one: the best pair of exchanges.
//!
//! A plan that respects all rows is dearer than the bound by its reduced costs, its surplus of
//! quality (at price y) and its unused priced slots. Near the optimum the surplus is nearly all of
//! it: a vertex rounded up overshoots its rows by a fraction of one query. It is used up by
//! exchanges that leave every model's load within its limit (one query moves to a free slot, two
//! swap, three rotate) and cost little: with reduced costs e and effects w on the rows, two exchanges
//! together change the objective by `e₁ + e₂ + Σ y·(w₁ + w₂)`, which is a gain where they use up
//! more surplus than they cost. Exchanges sorted by their effect on the row that matters most leave
//! a narrow window of partners for each, so that the best of millions of pairs is found by looking at
//! some thousands.

use super::core::{Column, Core, NO_ROW};
use super::order::least;
use super::values::terms;

/// How far to look.
pub(super) struct Reach {
    /// Moves of least reduced cost from which exchanges are built.
    moves: usize,
    /// Exchanges kept, those of least cost.
    exchanges: usize,
    /// Pairs looked at in one round.
    pairs: u64,
}

/// Enough for most plans, in some 50 µs a round.
pub(super) const NEAR: Reach = Reach { moves: 100, exchanges: 400, pairs: 40_000 };
/// For a plan whose proof would take longer still.
pub(super) const FAR: Reach = Reach { moves: 500, exchanges: 4000, pairs: 4_000_000 };
/// Rounds; each applies one pair.
const ROUNDS: u32 = 6;

/// Prices of a core, and the bound they prove on its objective.
pub(super) struct Dual<'a> {
    /// Per row of the core, scaled as it is.
    pub pi: &'a [f64],
    pub bound: f64,
}

/// One query to another model.
#[derive(Clone, Copy)]
struct Move {
    q: u32,
    from: u32,
    to: u32,
    /// The change of `v`: what it costs beyond its effect on the rows.
    own: f64,
}

/// One to three moves that keep all loads within their limits.
#[derive(Clone, Copy)]
struct Exchange {
    moves: [u32; 3],
    count: u8,
    own: f64,
    /// Effect on the row that matters most.
    lead: f64,
}

const NONE: u32 = u32::MAX;

/// Improves a feasible plan in place until no pair of exchanges does.
pub(super) fn polish(core: &Core, dual: &Dual, plan: &mut Column, reach: &Reach) {
    for _ in 0..ROUNDS {
        if !round(core, dual, plan, reach) {
            break;
        }
    }
}

fn round(core: &Core, dual: &Dual, plan: &mut Column, reach: &Reach) -> bool {
    let pi = dual.pi;
    let k = core.rows.len();
    let surplus: Vec<f64> = core.rows.iter().zip(&plan.w).map(|(row, w)| w - row.need).collect();
    // What surplus, unused priced slots and moves so far cost together: no exchange can gain more.
    let worth = plan.a - dual.bound;
    let Some(lead) = (0..k).max_by(|&a, &b| (surplus[a] * pi[a]).total_cmp(&(surplus[b] * pi[b]))) else {
        return false;
    };
    if worth <= 0.0 {
        return false;
    }
    let moves = moves(core, pi, &plan.x, worth, reach.moves);
    let change = |m: &Move, r: usize| {
        let weight = |j: u32| core.weight(&core.rows[r], m.q as usize, j as usize);
        weight(m.to) - weight(m.from)
    };
    let effects: Vec<f64> =
        moves.iter().flat_map(|m| (0..k).map(move |r| (m, r))).map(|(m, r)| change(m, r)).collect();
    let mut exchanges =
        exchanges(core, pi, &plan.x, &moves, |at| effects[at * k + lead], worth, reach.exchanges);
    // One exchange alone is a pair with nothing.
    exchanges.push(Exchange { moves: [NONE; 3], count: 0, own: 0.0, lead: 0.0 });
    let by_lead = least(exchanges.iter().map(|e| e.lead), usize::MAX);
    let exchanges: Vec<Exchange> = by_lead.into_iter().map(|at| exchanges[at as usize]).collect();
    let parts = |e: &Exchange| e.moves.into_iter().take(e.count as usize);
    let effect: Vec<f64> = exchanges
        .iter()
        .flat_map(|e| (0..k).map(move |r| (e, r)))
        .map(|(e, r)| parts(e).map(|at| effects[at as usize * k + r]).sum())
        .collect();
    let effect = |e: usize, r: usize| effect[e * k + r];
    // The change of the objective.
    let change: Vec<f64> = exchanges
        .iter()
        .enumerate()
        .map(|(e, x)| x.own + (0..k).map(|r| pi[r] * effect(e, r)).sum::<f64>())
        .collect();
    let cheapest = exchanges.iter().map(|e| e.own).fold(0.0, f64::min);
    let by_cost = least(exchanges.iter().map(|e| e.own), usize::MAX);
    // What all other rows' surplus is worth.
    let others = worth - surplus[lead].max(0.0) * pi[lead];
    let mut best = (-1e-12 * worth, None);
    let mut left = reach.pairs;
    for &a in &by_cost {
        let a = a as usize;
        let first = &exchanges[a];
        if left == 0 || first.own + cheapest - worth >= best.0 {
            break;
        }
        let start = exchanges.partition_point(|e| e.lead + first.lead < -surplus[lead]);
        for (b, second) in exchanges.iter().enumerate().skip(start) {
            // Even if all other surplus were used up, this row alone leaves too much.
            if left == 0 || first.own + cheapest - others + pi[lead] * (first.lead + second.lead) >= best.0 {
                break;
            }
            left -= 1;
            let gain = change[a] + change[b];
            if gain < best.0
                && (0..k).all(|r| surplus[r] + effect(a, r) + effect(b, r) >= 0.0)
                && disjoint(&moves, first, second)
                && fits(core, &plan.x, &moves, first, second)
            {
                best = (gain, Some((a, b)));
            }
        }
    }
    let (_, Some((a, b))) = best else { return false };
    let mut x = plan.x.clone();
    for e in [&exchanges[a], &exchanges[b]] {
        for at in parts(e) {
            x[moves[at as usize].q as usize] = moves[at as usize].to;
        }
    }
    let next = Column::new(core, x);
    let better = next.a < plan.a && next.covers(core);
    if better {
        *plan = next;
    }
    better
}

/// The moves of least cost, sorted by it.
fn moves(core: &Core, pi: &[f64], x: &[u32], worth: f64, most: usize) -> Vec<Move> {
    let mut rho = Vec::new();
    let at = terms(core, 1.0, pi, &mut rho);
    let mut moves = Vec::new();
    for (q, &from) in x.iter().enumerate() {
        let here = at.of(core, q, from as usize);
        for to in (0..core.m).filter(|&to| to != from as usize) {
            let own = at.of(core, q, to) - here;
            if own < worth {
                moves.push(Move { q: q as u32, from, to: to as u32, own });
            }
        }
    }
    least(moves.iter().map(|m| m.own), most).into_iter().map(|at| moves[at as usize]).collect()
}

/// Moves to a free slot, swaps and rotations of three.
fn exchanges(
    core: &Core,
    pi: &[f64],
    x: &[u32],
    moves: &[Move],
    lead: impl Fn(usize) -> f64,
    worth: f64,
    most: usize,
) -> Vec<Exchange> {
    let m = core.m;
    let mut room = core.limits.clone();
    for &j in x {
        room[j as usize] -= 1.0;
    }
    // Moves by (from, to), each list by cost.
    let mut lists: Vec<Vec<u32>> = vec![Vec::new(); m * m];
    moves
        .iter()
        .enumerate()
        .for_each(|(at, mv)| lists[mv.from as usize * m + mv.to as usize].push(at as u32));
    let mut found = Vec::new();
    let own = |at: u32| moves[at as usize].own;
    let slot = |j: usize| if core.row_of[j] == NO_ROW { 0.0 } else { pi[core.row_of[j] as usize] };
    let mut push = |parts: &[u32], slots: f64| {
        let cost: f64 = parts.iter().map(|&at| own(at)).sum::<f64>() + slots;
        if cost < worth {
            let mut list = [NONE; 3];
            list[..parts.len()].copy_from_slice(parts);
            found.push(Exchange {
                moves: list,
                count: parts.len() as u8,
                own: cost,
                lead: parts.iter().map(|&at| lead(at as usize)).sum(),
            });
        }
        cost < worth
    };
    for (at, mv) in moves.iter().enumerate() {
        let (j, k) = (mv.from as usize, mv.to as usize);
        if room[k] >= 1.0 {
            // The slot left behind stays empty, and the one taken was.
            push(&[at as u32], slot(j) - slot(k));
        }
        for &back in &lists[k * m + j] {
            if j < k && !push(&[at as u32, back], 0.0) {
                break;
            }
        }
        // Rotations start at their least model.
        for l in (j + 1..m).filter(|&l| l != k && k > j) {
            for &second in &lists[k * m + l] {
                if own(at as u32) + own(second) >= worth {
                    break;
                }
                for &third in &lists[l * m + j] {
                    if !push(&[at as u32, second, third], 0.0) {
                        break;
                    }
                }
            }
        }
    }
    if found.len() > most {
        return least(found.iter().map(|e| e.own), most).into_iter().map(|at| found[at as usize]).collect();
    }
    found
}

/// Whether two exchanges move different queries.
fn disjoint(moves: &[Move], a: &Exchange, b: &Exchange) -> bool {
    let queries = |e: &Exchange| e.moves.map(|at| if at == NONE { NONE } else { moves[at as usize].q });
    let (a, b) = (queries(a), queries(b));
    a.iter().all(|q| *q == NONE || !b.contains(q))
}

/// Whether two moves to free slots still fit together.
fn fits(core: &Core, x: &[u32], moves: &[Move], a: &Exchange, b: &Exchange) -> bool {
    if a.count != 1 || b.count != 1 {
        return true;
    }
    let (first, second) = (&moves[a.moves[0] as usize], &moves[b.moves[0] as usize]);
    if first.to != second.to || core.row_of[first.to as usize] == NO_ROW {
        return true;
    }
    let used = x.iter().filter(|&&j| j == first.to).count() as f64;
    used + 2.0 <= core.limits[first.to as usize]
}
