import("../threaded.js").then(async ({ decisions }) => console.log(JSON.stringify(await decisions())));
