const { decisions } = require("../program.js");

decisions().then((decided) => console.log(JSON.stringify(decided)));
