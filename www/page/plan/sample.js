/** Prompts of a made-up shop's day, for a look at a plan without a file: who asks, and what. */
const SAMPLE = {
  support: [
    "Where is my parcel? It was sent on Monday and the tracking page has not changed since.",
    "I was charged twice for the same order. How do I get one of the payments back?",
    "Can I still change the delivery address? The order was placed an hour ago.",
    "The zip of the jacket broke on the second day. What are my options?",
    "Do you ship to the Faroe Islands, and what does it cost?",
    "How do I delete my account and everything that you store about me?",
    "My discount code is refused at checkout although it is valid until Sunday. Please help.",
    "Is the lamp's bulb replaceable? I cannot find it in the manual.",
    "I would like an invoice with my company's VAT number for an order of last March.",
    "Which size should I take if I am between two of your sizes?",
    "The app signs me out every time that I close it. What can I do?",
    "Summarise this complaint in one sentence and say how urgent it is: the customer waited nine days for a crib that was promised in two, the baby is due this week, and nobody answers the phone.",
  ],
  writing: [
    "Write a product description of at most 60 words for a rain jacket made of recycled nylon.",
    "Write three subject lines for a mail that tells customers of longer delivery times before Christmas. No exclamation marks.",
    "Rewrite in plain language: “Notwithstanding the aforementioned, the warranty shall be rendered void in the event of improper use.”",
    "Translate into German, keeping the tone: “Oops, that size just sold out. Shall we tell you when it is back?”",
    "Shorten this to a headline of eight words: Our shop in Leeds reopens on the second of May with a repair corner, where sewing machines may be used for free.",
    "Draft a kind answer to a one-star review that says the parcel arrived wet.",
    "Give this text a title and two subheadings: it explains how wool is washed, dried and kept from moths.",
    "Write a haiku about a lost sock for the label of a pair of socks.",
  ],
  engineering: [
    "Write a SQL query that lists, for every month of last year, the ten products with the highest return rate, given tables orders(id, product_id, created_at) and returns(order_id, reason).",
    "This TypeScript function rounds prices wrongly for 1.005. Explain why and fix it: const round = (x: number) => Math.round(x * 100) / 100;",
    "Design an idempotent endpoint that books a payment exactly once although the provider may send its webhook several times and out of order. Name the failure cases.",
    "Write a regular expression for order numbers such as AB-2024-000123, and say which inputs it must refuse.",
    "Our checkout deadlocks under load: session A locks stock then cart, session B locks cart then stock. Propose two remedies and weigh them.",
    "Convert this cron expression to words: 15 3 * * 1-5",
    "Prove or disprove: if two requests read the same row under snapshot isolation and each writes another row that depends on it, the result is always serialisable.",
    "Review: for (let i = 0; i <= items.length; i++) total += items[i].price;",
    "Explain to a new colleague in five sentences what a race condition is.",
    "Write a Python function that merges overlapping time intervals and runs in O(n log n), with tests for its edge cases.",
  ],
  analysis: [
    "A warehouse ships 480 parcels a day, 12.5 % of them abroad. Domestic ones cost 3.20 and those abroad 11.40. What does a week of six days cost?",
    "We raised the price from 24 to 27 and sold 9 % fewer. Did revenue rise or fall, and by how much in percent?",
    "An A/B test has 5,120 visitors with 214 orders against 5,090 with 251. Is the difference significant at 5 %? Show the calculation.",
    "Classify as question, complaint or praise, one word only: “Finally a bag whose strap does not slip.”",
    "Our demand is normal with mean 120 and standard deviation 30 a week; a piece costs 8, sells for 20, and leftovers are worth 3. How many should we order for a week?",
    "Which of these is not like the others, and why: seasonal index, moving average, exponential smoothing, SKU?",
    "Extract the amounts and due dates as JSON: “The deposit of 300 euros is due on 4 May, the rest of 1,150 euros by the end of June.”",
    "Three suppliers deliver 50, 30 and 20 % of our buttons with defect rates of 1, 2 and 4 %. A button is defective. How likely is it from the third one?",
    "Sort by date, oldest first: 3 Jan 2025, 2024-12-31, 01/02/2025 (day first), last of November 2024.",
    "Derive the order quantity that minimises ordering and holding cost for a constant demand, and say how it changes when the demand doubles.",
  ],
};

/** The sample as a file like any other. */
export function sampleFile() {
  const lines = Object.entries(SAMPLE).flatMap(([group, prompts]) => prompts.map((text, i) => JSON.stringify({ query_id: `${group}-${i + 1}`, group, text })));
  return new File([lines.join("\n")], "sample.jsonl");
}
