const { decisions } = require("../threaded.js");

decisions().then((decided) => console.log(JSON.stringify(decided)));
