#include "server/service.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <thread>

#include "engine/page_store.h"
#include "hub/hub.h"
#include "program/cost.h"
#include "support/progress.h"

namespace outboard::server {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

namespace {

constexpr uint64_t kUsualPositions = 32768;

uint64_t bytes_of(const formats::Model& file) {
  uint64_t bytes = 0;
  for (const auto& tensor : file.tensors()) bytes += tensor.data.size();
  return bytes;
}

struct Running {
  std::unique_ptr<engine::Session> session;
  std::map<engine::SequenceId, std::shared_ptr<Job>> jobs;
};

// A model on the device, and what runs of it.
struct Loaded {
  bool is_idle() const { return answers.jobs.empty() && embeddings.jobs.empty(); }
  size_t jobs() const { return answers.jobs.size() + embeddings.jobs.size(); }
  std::array<Running*, 2> running() { return {&answers, &embeddings}; }

  std::shared_ptr<const ServedModel> model;
  Running answers;
  Running embeddings;  // no session until one is asked for
  seconds keep_alive;
  Clock::time_point last_use = Clock::now();
};

// So often the device may fail again before any answer has gone on.
constexpr int kMostTries = 2;

}  // namespace

struct Service::State {
  explicit State(const ServiceOptions& o) : options(o) {}

  void run();
  bool take_jobs();
  bool begin(const std::shared_ptr<Job>& job);
  bool load_failed(const std::shared_ptr<Job>& job, const Error& error);
  Loaded& load(const std::shared_ptr<const ServedModel>& model);
  std::unique_ptr<engine::Session> make_session(const ServedModel& model, bool embeds);
  void open_device();
  bool step(Loaded& loaded, Running& running);
  void end(const Job& job, engine::Completion&& completion);
  void end_all();
  void device_failed(const Error& error);
  void resume();
  void give_up();
  void load_failed(const Error& error);
  void unload(const std::string& name);
  void unload_idle();
  bool save_caches();
  bool make_place(const ServedModel& for_model);
  void publish();
  void say(std::string_view line) const {
    if (options.log) options.log(line);
  }
  void set_state(std::string text, bool ok) {
    const std::lock_guard lock(mutex);
    shown.state = std::move(text);
    shown.ok = ok;
  }

  const ServiceOptions& options;
  mutable std::mutex mutex;  // of these:
  std::condition_variable wake;
  std::deque<std::shared_ptr<Job>> queue;
  std::vector<std::pair<std::shared_ptr<const ServedModel>, seconds>> keeps;
  bool stopping = false;
  Status shown;

  // The thread's own:
  machine::Opened device;
  std::vector<std::unique_ptr<Loaded>> loaded;
  // What ran when the device failed: its sessions are detached until it is back.
  std::vector<std::unique_ptr<Loaded>> suspended;
  Clock::time_point give_up_at{};
  int failures_in_a_row = 0;
  std::string failure;
  std::weak_ptr<Job> second_try;  // the last that got one
  Counters counters;
  bool cache_failed = false;
  Clock::time_point next_try{};  // of opening a device that failed
  std::thread thread;
};

std::string without_latest(std::string name) {
  constexpr std::string_view kLatest = ":latest";
  if (name.ends_with(kLatest)) name.resize(name.size() - kLatest.size());
  return name;
}

seconds read_duration(std::string_view name, std::string_view text) {
  const std::string_view whole = text;
  constexpr double kLongest = 1e9;  // 30 years
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  double sum = 0;
  do {
    const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    const std::string number(text.substr(0, digits));
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    text.remove_prefix(digits);
    const size_t letters = std::min(text.find_first_of("0123456789."), text.size());
    const std::string_view unit = text.substr(0, letters);
    text.remove_prefix(letters);
    const double scale = unit == "h"                   ? 3600
                         : unit == "m"                 ? 60
                         : unit == "s" || unit.empty() ? 1
                         : unit == "ms"                ? 1e-3
                                                       : -1;
    if (digits == 0 || *end != '\0' || scale < 0)
      refuse("{}: \"{}\" is no duration, expected one like \"5m\", \"1h30m\" or seconds", name,
             whole);
    sum += value * scale;
  } while (!text.empty());
  return seconds(negative ? -1 : static_cast<int64_t>(std::min(sum, kLongest)));
}

Service::Service(ServiceOptions options)
    : options_(std::move(options)), state_(std::make_unique<State>(options_)) {
  if (!options_.cache_folder.empty())  // said now rather than with the first request
    const engine::PageStore usable(options_.cache_folder, options_.cache_bytes, "");
  std::vector<std::shared_ptr<ServedModel>> models;
  for (const std::string& name : options_.models) {
    const fs::path path = hub::find_model(name);
    // Short names: some clients do not show those that are paths.
    given_.emplace_back(
        path.extension() == ".gguf" ? path.stem().string() : path.filename().string(), path);
    models.push_back(read(given_.back().first, path));
  }
  // What is wrong with it is told before anybody asks for something.
  state_->device = machine::open_device(options_.device, options_.open);
  room_ = state_->device.device->room(nullptr, nullptr);
  own_memory_ = state_->device.device->has_own_memory();
  for (const auto& model : models) {
    fit(*model);
    files_[model->name] = model;
    state_->keeps.emplace_back(model, options_.keep_alive);
  }
  state_->shown.device = state_->device.device->description();
  state_->shown.state = "ok";
  state_->thread = std::thread([this] { state_->run(); });
}

Service::~Service() { stop(); }

void Service::stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  if (state_->thread.joinable()) state_->thread.join();
}

std::vector<std::string> Service::names() const {
  std::vector<std::string> names;
  for (const auto& [name, path] : given_) names.push_back(name);
  if (hub::has_model_folder())
    for (const hub::Installed& model : hub::installed())
      if (std::ranges::find(names, model.name) == names.end()) names.push_back(model.name);
  return names;
}

std::shared_ptr<const ServedModel> Service::find(const std::string& asked) {
  std::string name = without_latest(asked);
  std::optional<fs::path> path;
  for (const auto& [given, file] : given_)
    if (name == given || asked == file) path = file, name = given;
  const bool any = asked.empty() || asked.starts_with("claude-") || asked.starts_with("gpt-") ||
                   asked.starts_with("text-embedding-");
  if (!path && hub::has_model_folder())
    for (const hub::Installed& model : hub::installed())
      if (model.name == name) path = model.path;
  if (!path && any && !given_.empty()) {
    name = given_.front().first;
    path = given_.front().second;
  }
  if (!path)
    throw Refusal(404,
                  fmt::format("model \"{}\" not found, here are: {}. `outboard pull` gets more.",
                              asked, fmt::join(names(), ", ")),
                  "model_not_found", "model");
  const std::lock_guard lock(files_mutex_);
  std::shared_ptr<const ServedModel>& known = files_[name];
  if (known == nullptr) {
    const std::shared_ptr<ServedModel> made = read(name, *path);
    fit(*made);
    known = made;
  }
  return known;
}

std::vector<std::string> Service::given() const {
  std::vector<std::string> names;
  for (const auto& [name, path] : given_) names.push_back(name);
  return names;
}

void Service::forget(const std::string& name) {
  const std::lock_guard lock(files_mutex_);
  files_.erase(name);
}

std::shared_ptr<ServedModel> Service::read(const std::string& name, const fs::path& path) const {
  auto served = std::make_shared<ServedModel>();
  served->name = name;
  served->path = path;
  engine::LoadOptions load;
  load.ignore_unknown = options_.ignore_unknown;
  load.on_notice = options_.log;
  served->model = engine::Model::load(path, load);
  const engine::Model& model = *served->model;
  (void)model.tokenizer();  // an Error for a translation model
  if (model.has_chat_template()) {
    served->format = chat::detect(model.chat_template().source(), model.tokenizer());
    served->abilities = chat::abilities_of(model.chat_template());
  }
  const int64_t most = model.program().context_length;
  if (options_.context > most)
    throw Error(fmt::format("a context of {} positions was asked for, but {} was trained for {}",
                            options_.context, name, most),
                fmt::format("Use --ctx {} or less.", most));
  const std::optional<engine::Pooling> pooling = engine::pooling_of(model.file().metadata);
  served->pooling = options_.pooling.value_or(pooling.value_or(engine::Pooling::kMean));
  served->bytes = bytes_of(model.file());
  std::error_code unknown;  // 0 then
  served->modified = fs::last_write_time(path, unknown);
  served->digest = model.identity();
  return served;
}

// A model may have its share of the device.
void Service::fit(ServedModel& served) const {
  const program::Program& program = served.model->program();
  const uint64_t share = room_ / static_cast<uint64_t>(options_.models_max);
  const uint64_t weights = served.bytes - (own_memory_ ? program::host_table_bytes(program) : 0);
  const uint64_t room = room_ == 0 ? 0 : std::max<uint64_t>(1, share - std::min(share, weights));
  const int fits = engine::fitting_context(program, room);
  if (fits == 0 && options_.context == 0)
    throw Error(
        fmt::format("{} does not fit: of the {} that a model may have of this device its "
                    "weights take {}",
                    served.name, format_bytes(share), format_bytes(weights)),
        "Choose a smaller model or file type, a lower --models-max, or give a short --ctx.");
  served.context = options_.context > 0 ? options_.context : fits;
  if (options_.log && options_.context == 0 && served.context < program.context_length)
    options_.log(
        fmt::format("{} gets a context of {} of the {} that it was trained for: more does "
                    "not fit",
                    served.name, served.context, program.context_length));
  // Several sequences of a short context have room for more of them.
  const uint64_t a_position = std::max<uint64_t>(1, program.kv_bytes_per_token());
  const uint64_t usual =
      room_ == 0 ? kUsualPositions : std::min(kUsualPositions, room / 2 / a_position);
  served.positions =
      std::max(served.context,
               options_.cache_positions > 0 ? options_.cache_positions : static_cast<int>(usual));
}

void Service::submit(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping) throw Refusal(503, "the server is stopping");
    if (state_->queue.size() >= options_.most_waiting)
      throw Refusal(503, fmt::format("{} requests wait already", state_->queue.size()), "busy");
    state_->queue.push_back(std::move(job));
  }
  state_->wake.notify_all();
}

void Service::keep(std::shared_ptr<const ServedModel> model, seconds keep_alive) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->keeps.emplace_back(std::move(model), keep_alive);
  }
  state_->wake.notify_all();
}

Status Service::status() const {
  const std::lock_guard lock(state_->mutex);
  Status status = state_->shown;
  status.waiting = state_->queue.size();
  return status;
}

void Service::State::run() {
  for (;;) {
    const bool goes_on = take_jobs();
    if (!goes_on) break;
    resume();
    bool works = false;
    bool there = true;  // what is loaded
    for (size_t i = 0; there && i < loaded.size(); ++i)
      for (Running* running : loaded[i]->running()) {
        if (running->jobs.empty()) continue;
        works = true;
        there = step(*loaded[i], *running);
        if (!there) break;
      }
    unload_idle();
    publish();
    if (works) continue;
    if (save_caches()) continue;
    std::unique_lock lock(mutex);
    if (!suspended.empty()) {
      if (!stopping) wake.wait_for(lock, std::chrono::milliseconds(200));
    } else if (queue.empty() && keeps.empty() && !stopping) {
      wake.wait_for(lock, seconds(1));
    }
  }
  end_all();
  save_caches();
  loaded.clear();
  std::deque<std::shared_ptr<Job>> rest;
  {
    const std::lock_guard lock(mutex);
    rest.swap(queue);
  }
  for (const auto& job : rest) job->failed(Refusal(503, "the server is stopping"));
  try {
    device = {};
  } catch (const Error& e) {
    say(fmt::format("the device could not be put to rest: {}", e.message()));
  }
}

// Running answers are told that it is the end.
void Service::State::end_all() {
  give_up();
  for (const auto& model : loaded)
    for (Running* running : model->running()) {
      if (running->jobs.empty()) continue;
      for (const auto& [id, job] : running->jobs) job->cancel = true;
      try {
        while (running->session->step()) {
        }
        for (const auto& [id, job] : running->jobs)
          if (std::optional<engine::Completion> c = running->session->take(id))
            job->done(std::move(*c));
      } catch (const Error& e) {
        for (const auto& [id, job] : running->jobs) job->failed(Refusal(500, e.message()));
      }
      running->jobs.clear();
    }
}

// From the queue to sessions, as many as these may have: what waits here can still be refused, and
// its client goes away without a trace. False when the service is to stop.
bool Service::State::take_jobs() {
  for (;;) {
    std::shared_ptr<Job> job;
    std::vector<std::pair<std::shared_ptr<const ServedModel>, seconds>> kept;
    std::vector<std::shared_ptr<Job>> left;  // by their clients
    {
      const std::lock_guard lock(mutex);
      if (stopping) return false;
      if (suspended.empty()) kept.swap(keeps);
      std::erase_if(queue, [&](const std::shared_ptr<Job>& waiting) {
        if (waiting->cancel) left.push_back(waiting);
        return waiting->cancel.load();
      });
      // In order, but one whose model has to wait for its place lets others pass.
      const auto can_begin = [&](const std::shared_ptr<Job>& waiting) {
        for (const auto& model : loaded)
          if (model->model == waiting->model)
            return model->jobs() < static_cast<size_t>(options.parallel);
        return loaded.size() < static_cast<size_t>(options.models_max) ||
               std::ranges::any_of(loaded, [](const auto& model) { return model->is_idle(); });
      };
      // What runs comes first, where its device has to be opened again.
      const auto found = suspended.empty() ? std::ranges::find_if(queue, can_begin) : queue.end();
      if (found != queue.end()) {
        job = *found;
        queue.erase(found);
      }
    }
    for (const auto& gone : left) gone->failed(Refusal(503, "the client has gone"));
    for (const auto& [model, keep_alive] : kept) {
      if (keep_alive == seconds(0)) {
        unload(model->name);
        continue;
      }
      try {
        load(model).keep_alive = keep_alive;
      } catch (const Refusal& e) {
        say(fmt::format("{}: {}", model->name, e.message()));
      } catch (const Error& e) {
        say(fmt::format("{}: {}", model->name, e.message()));
        load_failed(e);
      }
    }
    if (job == nullptr || !begin(job)) return true;
  }
}

// False where the job waits again, until what runs has been seen to.
bool Service::State::begin(const std::shared_ptr<Job>& job) {
  Loaded* found = nullptr;
  try {
    found = &load(job->model);
    Running& running = job->embeds ? found->embeddings : found->answers;
    if (running.session == nullptr) running.session = make_session(*found->model, job->embeds);
  } catch (const Refusal& e) {
    job->failed(e);
    return true;
  } catch (const Error& e) {
    return load_failed(job, e);
  }
  Loaded& model = *found;
  Running& running = job->embeds ? model.embeddings : model.answers;
  try {
    if (job->keep_alive) model.keep_alive = *job->keep_alive;
    job->request.cancel = &job->cancel;
    job->request.on_piece = [raw = job.get()](const engine::Piece& piece) {
      if (raw->piece) raw->piece(piece);
    };
    const engine::SequenceId id = running.session->add(std::move(job->request));
    running.jobs.emplace(id, job);
    ++counters.requests;
    if (job->started) job->started();
  } catch (const Error& e) {
    job->failed(Refusal(400, e.message()));
  }
  return true;
}

// The device may have gone just now: a job gets a second try. What the device can't hold is no
// mistake of the client's.
bool Service::State::load_failed(const std::shared_ptr<Job>& job, const Error& error) {
  load_failed(error);
  if (second_try.lock() != job) {
    second_try = job;
    const std::lock_guard lock(mutex);
    queue.push_front(job);
    return false;
  }
  job->failed(Refusal(503, error.message() + (error.hint().empty() ? "" : " " + error.hint())));
  return true;
}

Loaded& Service::State::load(const std::shared_ptr<const ServedModel>& model) {
  for (const auto& known : loaded)
    if (known->model == model) return *known;
  unload(model->name);  // its file has changed
  if (device.device == nullptr) open_device();
  while (loaded.size() >= static_cast<size_t>(options.models_max) && make_place(*model)) {
  }
  set_state("loading " + model->name, true);
  const auto begin = Clock::now();
  auto made = std::make_unique<Loaded>();
  made->model = model;
  made->keep_alive = options.keep_alive;
  for (;;) {
    try {
      made->answers.session = make_session(*model, false);
      break;
    } catch (const Error&) {
      // Others may be in the way.
      if (!make_place(*model)) {
        set_state("ok", true);
        throw;
      }
    }
  }
  loaded.push_back(std::move(made));
  set_state("ok", true);
  const engine::Session& session = *loaded.back()->answers.session;
  const devices::MemoryUse memory = session.memory();
  say(fmt::format("{} is loaded: context {}, {:.0f} MiB of keys and values, {:.1f} s", model->name,
                  session.context(), static_cast<double>(memory.kv) / (1 << 20),
                  std::chrono::duration<double>(Clock::now() - begin).count()));
  return *loaded.back();
}

std::unique_ptr<engine::Session> Service::State::make_session(const ServedModel& model,
                                                              bool embeds) {
  engine::SessionOptions session;
  session.embeds = embeds;
  session.context = model.context;
  session.max_sequences = options.parallel;
  session.speculation = options.speculation;
  // Nothing is kept of texts that are embedded: room for one that is as long as may be does.
  session.cache_positions = embeds ? model.context : model.positions;
  session.cache_folder = options.cache_folder;
  session.cache_bytes = options.cache_bytes;
  return std::make_unique<engine::Session>(model.model, *device.device, session);
}

// One idle model less; false where all are busy.
bool Service::State::make_place(const ServedModel& for_model) {
  Loaded* oldest = nullptr;
  for (const auto& model : loaded)
    if (model->is_idle() && (oldest == nullptr || model->last_use < oldest->last_use))
      oldest = model.get();
  if (oldest == nullptr) return false;
  say(fmt::format("{} makes place for {}", oldest->model->name, for_model.name));
  unload(oldest->model->name);
  return true;
}

// While nothing is asked: until something is. Errors are told once, for they come again.
bool Service::State::save_caches() {
  if (options.cache_folder.empty() || cache_failed) return false;
  const auto asked = [&] {
    const std::lock_guard lock(mutex);
    return !stopping && (!queue.empty() || !keeps.empty());
  };
  try {
    for (const auto& model : loaded) model->answers.session->save_cache(asked);
  } catch (const Error& e) {
    cache_failed = true;
    say(fmt::format("prompts are not kept any more: {}", e.message()));
  }
  return asked();
}

void Service::State::unload(const std::string& name) {
  save_caches();
  std::erase_if(loaded,
                [&](const auto& model) { return model->model->name == name && model->is_idle(); });
}

void Service::State::unload_idle() {
  const auto now = Clock::now();
  std::vector<std::string> idle;
  for (const auto& model : loaded)
    if (model->is_idle() && model->keep_alive >= seconds(0) &&
        now - model->last_use > model->keep_alive)
      idle.push_back(model->model->name);
  for (const std::string& name : idle) {
    say(fmt::format("{} is unloaded: nobody asked for it", name));
    unload(name);
  }
}

void Service::State::open_device() {
  constexpr seconds kBetweenTries(2);
  if (Clock::now() < next_try) {
    const std::lock_guard lock(mutex);
    throw Refusal(503, "the device failed and is not there yet: " + shown.state);
  }
  set_state("opening the device", true);
  try {
    device = machine::open_device(options.device, options.open);
  } catch (const Error& e) {
    next_try = Clock::now() + kBetweenTries;
    set_state("error: " + e.message(), false);
    throw Refusal(503, e.message());
  }
  set_state("ok", true);
  const std::lock_guard lock(mutex);
  shown.device = device.device->description();
}

// False when the device failed, and with it all that was loaded.
bool Service::State::step(Loaded& model, Running& running) {
  try {
    running.session->step();
    model.last_use = Clock::now();
    failures_in_a_row = 0;
  } catch (const Error& e) {
    device_failed(e);
    return false;
  }
  for (auto it = running.jobs.begin(); it != running.jobs.end();) {
    std::optional<engine::Completion> completion = running.session->take(it->first);
    if (!completion) {
      ++it;
      continue;
    }
    const std::shared_ptr<Job> job = it->second;
    it = running.jobs.erase(it);
    end(*job, std::move(*completion));
  }
  return true;
}

void Service::State::end(const Job& job, engine::Completion&& completion) {
  counters.prompt_tokens +=
      static_cast<uint64_t>(completion.prompt_tokens - completion.cached_tokens);
  counters.cached_tokens += static_cast<uint64_t>(completion.cached_tokens);
  counters.answer_tokens += completion.tokens.size();
  counters.drafted_tokens += static_cast<uint64_t>(completion.drafted_tokens);
  counters.accepted_tokens += static_cast<uint64_t>(completion.accepted_tokens);
  counters.prompt_seconds += completion.prompt_seconds;
  counters.answer_seconds += completion.decode_seconds;
  if (completion.error) {
    ++counters.failures;
    job.failed(Refusal(500, completion.error->message()));
  } else {
    job.done(std::move(completion));
  }
}

// Was it the model or the device? Where nothing runs there, it is opened anew rather than asked;
// else the answers that run will tell.
void Service::State::load_failed(const Error& error) {
  if (std::ranges::all_of(loaded, [](const auto& model) { return model->is_idle(); }))
    device_failed(error);
}

// All that was on it is gone. It is opened again for what ran, or for the next request.
void Service::State::device_failed(const Error& error) {
  ++counters.device_failures;
  failure = error.message();
  say(fmt::format("the device failed: {}", error.message()));
  if (!error.hint().empty()) say(error.hint());
  set_state("error: " + error.message(), false);
  if (suspended.empty()) give_up_at = Clock::now() + options.wait_for_device;
  try {
    for (auto& model : loaded) {
      if (model->is_idle()) continue;
      for (Running* running : model->running())
        if (running->session != nullptr) running->session->detach();
      suspended.push_back(std::move(model));
    }
    loaded.clear();
    device = {};
  } catch (const Error& e) {
    say(fmt::format("the device could not be put to rest: {}", e.message()));
  }
  failures_in_a_row = suspended.empty() ? 0 : failures_in_a_row + 1;
}

// What ran goes on where it was, as soon as the device is back.
void Service::State::resume() {
  if (suspended.empty()) return;
  if (failures_in_a_row > kMostTries || Clock::now() > give_up_at) return give_up();
  try {
    while (!suspended.empty()) {
      Loaded& lost = *suspended.back();
      Loaded& model = load(lost.model);
      model.keep_alive = lost.keep_alive;
      if (!lost.embeddings.jobs.empty())
        model.embeddings.session = make_session(*model.model, true);
      for (const bool embeds : {false, true}) {
        Running& from = embeds ? lost.embeddings : lost.answers;
        Running& to = embeds ? model.embeddings : model.answers;
        if (from.jobs.empty()) continue;
        to.session->adopt(*from.session);
        to.jobs = std::move(from.jobs);
      }
      say(fmt::format("{}: what was under way goes on", model.model->name));
      suspended.pop_back();
    }
  } catch (const Refusal&) {  // it can't be opened yet
  } catch (const Error& e) {
    device_failed(e);
  }
}

void Service::State::give_up() {
  const Refusal why(503, fmt::format("the device failed: {}", failure));
  for (const auto& model : std::exchange(suspended, {}))
    for (Running* running : model->running())
      for (const auto& [id, job] : running->jobs) {
        ++counters.failures;
        job->failed(why);
      }
}

void Service::State::publish() {
  const std::lock_guard lock(mutex);
  shown.loaded.clear();
  for (const auto& model : loaded) {
    LoadedStatus status;
    status.name = model->model->name;
    status.for_ever = model->keep_alive < seconds(0);
    if (!status.for_ever)
      status.until = std::chrono::system_clock::now() + model->keep_alive -
                     std::chrono::duration_cast<seconds>(Clock::now() - model->last_use);
    for (const Running* running : model->running()) {
      if (running->session == nullptr) continue;
      const devices::MemoryUse memory = running->session->memory();
      status.memory.kv += memory.kv;
      status.memory.buffers += memory.buffers;
      std::ranges::copy(running->session->status(), std::back_inserter(status.sequences));
    }
    shown.loaded.push_back(std::move(status));
  }
  shown.counters = counters;
}

}  // namespace outboard::server
