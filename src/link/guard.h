// A process that stands between a program and the card's server, and outlives the program: when the
// program dies with the card running, the guard puts the card to rest before it lets the connection
// go. On a Mac the server takes system memory away when its client goes, and a card that still
// writes there panics the kernel.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "link/card_lock.h"
#include "link/link.h"
#include "link/protocol.h"
#include "link/socket.h"

namespace outboard::link {

// The program that is started as `PROGRAM guard ...`; empty: connections are not guarded. Set once,
// by main(), before the first connect().
void set_guard_program(std::string path);
const std::string& guard_program();
// The path of the running program.
std::string own_path();

// A guard that runs. When destroyed, waits until it has ended: the card's server is free then.
class GuardProcess {
 public:
  explicit GuardProcess(pid_t pid) : pid_(pid) {}
  ~GuardProcess();
  GuardProcess(const GuardProcess&) = delete;
  GuardProcess& operator=(const GuardProcess&) = delete;

 private:
  pid_t pid_;
};

struct Guarded {
  Socket socket;  // to the guard, which speaks like the server (or takes what it shall keep)
  std::unique_ptr<GuardProcess> process;
};
// Hands the server's socket to a new guard process. The lock stays held until both have ended.
Guarded start_guard(Socket server, Dialect dialect, const std::string& name, const CardLock& lock);

// The same for a card that is reached without a server: the guard keeps the memory that is shared
// with it, and when the program dies, puts the card to rest through a link of its own.
Guarded start_keeper(const std::string& sysfs, const std::string& address, const CardLock& lock);
// Gives the keeper a descriptor of system memory. False: it is gone.
bool keep(Socket& keeper, int descriptor);

// The guard's own life. arguments: what start_guard() put behind "guard". rest: puts the card
// behind a link to rest and says in words what it found; throws Error when it cannot. Returns the
// exit status.
int run_guard(const std::vector<std::string>& arguments,
              const std::function<std::string(Link&)>& rest);

// Passes whole requests and answers until one side goes. A request that did not arrive as a whole
// is not passed on.
enum class RelayEnd : uint8_t {
  kProgramGone,  // the server is there, between two requests
  kServerGone,
  kServerHangs,  // in the middle of a request: it owes an answer
};
// limit: how long the server may be silent, beside what it takes for bytes that are under way.
RelayEnd relay(Socket& program, Socket& server, std::chrono::milliseconds limit);

}  // namespace outboard::link
