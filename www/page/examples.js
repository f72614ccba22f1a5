/** Prompts to try, from what any model answers to what few do. */
export const EXAMPLES = [
  { label: "Small talk", prompt: "Good morning! I slept badly. Any idea for a gentle start into the day?" },
  {
    label: "Mail",
    prompt: "Write a short, friendly mail to our landlord: the radiator in the kitchen has been cold since Monday, we would like it repaired this week, and someone is at home every day after four.",
  },
  { label: "Translate", prompt: "Translate into French, keeping the tone: “We are sorry for the delay. Your parcel left our warehouse this morning.”" },
  {
    label: "Arithmetic",
    prompt: "A baker sells 48 rolls in the morning and half as many in the afternoon. Each roll costs 35 cents. How much money does the baker take in over a six-day week?",
  },
  {
    label: "Code review",
    prompt: `Review this function. Is it correct when several threads call it? Say what can go wrong and give a fixed version.

fn next_id(counter: &AtomicU64) -> u64 {
    let id = counter.load(Ordering::Relaxed);
    counter.store(id + 1, Ordering::Relaxed);
    id
}`,
  },
  {
    label: "Multiple choice",
    prompt: `Which enzyme catalyses the rate-limiting step of glycolysis?
(A) Hexokinase
(B) Phosphofructokinase-1
(C) Aldolase
(D) Pyruvate kinase
Answer with the letter only.`,
  },
  {
    label: "Proof",
    prompt: "Let G be a finite group of order pq, where p < q are primes and p does not divide q − 1. Prove that G is cyclic, and show by an example that the condition on q − 1 cannot be dropped.",
  },
  { label: "Something odd", prompt: "🜁🜂🜃 ᚠᚢᚦᚨᚱᚲ 🜄 ∴ ⟁⟁⟁ ᛟ?" },
];
