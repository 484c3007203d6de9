/** The application of the demo, as a project has it that "ropewalk dev" makes. */
export const app = "demo_app";
