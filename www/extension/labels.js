/** How the prompts of a site are treated, in words. */
export const PRIVACY = {
  ordinary: "go to any allowed provider",
  private: "go to private providers only",
  alone: "are left alone, not read",
};
