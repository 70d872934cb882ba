// outboard sim: the simulated RX 7900 XTX and its compute units.
#include "cli/sim.h"

#include "cli/commands.h"

namespace outboard::cli {

void add_sim(CLI::App& app) {
  CLI::App* sim = app.add_subcommand("sim", "The simulated RX 7900 XTX: serve it, run kernels on it");
  sim->require_subcommand(1);
  add_sim_serve(*sim);
}

}  // namespace outboard::cli
