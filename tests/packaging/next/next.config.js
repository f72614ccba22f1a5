// What webpack makes of `new URL("…", import.meta.url)` is no file on the server, so there the package stays outside the bundle.
export default { serverExternalPackages: ["pennyroute"] };
