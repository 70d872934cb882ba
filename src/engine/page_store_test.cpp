#include "engine/page_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "devices/device.h"
#include "engine/engine.h"
#include "engine/tiny_files.h"
#include "machine/open.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

namespace fs = std::filesystem;

class PageStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              fmt::format("outboard_pages_{}_{}", getpid(),
                          ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path());
    return found;
  }

  fs::path folder_;
};

std::vector<std::byte> page_of(unsigned seed, size_t bytes = 1000) {
  std::mt19937 random(seed);
  std::vector<std::byte> page(bytes);
  for (std::byte& byte : page) byte = static_cast<std::byte>(random());
  return page;
}

const std::vector<int32_t> kTokens = {1, 2, 3};

TEST_F(PageStoreTest, WhatIsKeptIsFoundByALaterProgram) {
  const auto page = page_of(1);
  PageStore::Key key;
  {
    PageStore store(folder_, 1 << 20, "model");
    key = PageStore::next(store.beginning(), kTokens);
    EXPECT_FALSE(store.has(key));
    store.save(key, page);
    EXPECT_TRUE(store.has(key));
  }
  PageStore later(folder_, 1 << 20, "model");
  ASSERT_EQ(PageStore::next(later.beginning(), kTokens), key);
  std::vector<std::byte> back(page.size());
  ASSERT_TRUE(later.load(key, back));
  EXPECT_EQ(back, page);
  EXPECT_EQ(fs::status(files().at(0)).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  // Of another model, or behind other tokens.
  PageStore other(folder_, 1 << 20, "another");
  EXPECT_FALSE(other.has(PageStore::next(other.beginning(), kTokens)));
  EXPECT_FALSE(later.has(PageStore::next(key, kTokens)));
}

// Every byte of a file, changed or cut off from there.
TEST_F(PageStoreTest, DamageIsFound) {
  const auto page = page_of(2, 100);
  const auto damage = [&](const std::function<void(const fs::path&)>& harm) {
    PageStore store(folder_, 1 << 20, "model");
    const auto key = PageStore::next(store.beginning(), kTokens);
    store.save(key, page);
    harm(files().at(0));
    std::vector<std::byte> back(page.size());
    EXPECT_FALSE(store.load(key, back));
    EXPECT_EQ(store.damaged(), 1u);
    EXPECT_TRUE(files().empty());
  };
  const size_t size = 8 + 32 + 8 + 8 + page.size();
  for (size_t at = 0; at < size; ++at) {
    damage([&](const fs::path& file) {
      std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
      bytes.seekg(static_cast<std::streamoff>(at));
      const auto was = static_cast<char>(bytes.get());
      bytes.seekp(static_cast<std::streamoff>(at));
      bytes.put(static_cast<char>(was ^ 4));
    });
    damage([&](const fs::path& file) { fs::resize_file(file, at); });
  }
  damage([&](const fs::path& file) { fs::resize_file(file, size + 1); });
}

TEST_F(PageStoreTest, TheOldestMakePlace) {
  const auto page = page_of(3);
  PageStore store(folder_, 3 * 1100, "model");
  std::vector<PageStore::Key> keys{store.beginning()};
  for (int i = 0; i < 3; ++i) {
    keys.push_back(PageStore::next(keys.back(), kTokens));
    store.save(keys.back(), page);
  }
  std::vector<std::byte> back(page.size());
  ASSERT_TRUE(store.load(keys[1], back));  // used again: the second is the oldest now
  keys.push_back(PageStore::next(keys.back(), kTokens));
  store.save(keys.back(), page);
  EXPECT_TRUE(store.has(keys[1]));
  EXPECT_FALSE(store.has(keys[2]));
  EXPECT_TRUE(store.has(keys[4]));
  EXPECT_LE(store.bytes(), 3u * 1100);
  EXPECT_EQ(files().size(), 3u);
}

TEST_F(PageStoreTest, AFolderThatCanNotBeIsAnError) {
  std::ofstream(folder_.string()) << "a file";
  EXPECT_THROW(PageStore(folder_, 1 << 20, "model"), Error);
}

// Of the engine: a session of another program computes only what the first did not, and says the
// same; also where files are damaged. On both devices.
TEST_F(PageStoreTest, PromptsSurvive) {
  const TinyFile file("llama");
  const auto model = Model::load(file.path());
  SessionOptions options;
  options.context = 256;
  options.cache_folder = folder_;
  Request request;
  request.prompt =
      model->tokenizer().encode(std::string(150, 'r') + " the rain in the inn", true, false);
  request.temperature = 0;
  request.max_tokens = 10;
  request.ignore_end_of_text = true;
  const auto whole = static_cast<int>((request.prompt.size() - 1) / 32 * 32);
  for (const char* name : {"cpu", "sim"}) {
    fs::remove_all(folder_);
    Completion first;
    {
      const auto opened = machine::open_device(name);
      Session session(model, *opened.device, options);
      first = session.generate(request);
      EXPECT_EQ(first.cached_tokens, 0);
      session.save_cache([] { return true; });  // told to stop at once
      EXPECT_TRUE(files().empty());
      session.save_cache();
      EXPECT_EQ(files().size(), (request.prompt.size() + 9) / 32);
    }
    const auto opened = machine::open_device(name);
    {
      Session session(model, *opened.device, options);
      const Completion again = session.generate(request);
      EXPECT_EQ(again.cached_tokens, whole) << name;
      EXPECT_EQ(again.tokens, first.tokens) << name;
    }
    // A page in the midst is damaged: what lies behind it is of no use.
    PageStore store(folder_, 1 << 30, "x");
    fs::resize_file(files().at(2), 5000);
    Session session(model, *opened.device, options);
    const Completion rest = session.generate(request);
    EXPECT_LE(rest.cached_tokens, whole) << name;
    EXPECT_EQ(rest.tokens, first.tokens) << name;
  }
}

// Of models that keep more of a text than keys and values: snapshots too, which the pages in front
// of them belong to. The state is exactly what it was: so is the first token's probability.
TEST_F(PageStoreTest, PromptsOfModelsWithSlotsSurvive) {
  SessionOptions options;
  options.context = 256;
  options.max_step_tokens = 48;
  options.cache_folder = folder_;
  struct Case {
    const char *device, *architecture;
  };
  // With keys and values beside the recurrence, and without.
  for (const Case& c : {Case{"cpu", "qwen35"}, Case{"cpu", "mamba2"}, Case{"sim", "lfm2"}}) {
    SCOPED_TRACE(fmt::format("{} {}", c.device, c.architecture));
    const TinyFile file(c.architecture);
    const auto model = Model::load(file.path());
    const auto opened = machine::open_device(c.device);
    fs::remove_all(folder_);
    Request request;
    request.prompt =
        model->tokenizer().encode(std::string(150, 'r') + " the rain in the inn", true, false);
    request.temperature = 0;
    request.max_tokens = 70;
    request.ignore_end_of_text = true;
    request.logprobs = 0;
    const auto whole = static_cast<int>((request.prompt.size() - 1) / 32 * 32);
    const auto answered = [&](int cached) {
      Session session(model, *opened.device, options);
      Completion answer = session.generate(request);
      EXPECT_EQ(answer.cached_tokens, cached);
      return answer;
    };
    Completion first;
    {
      Session session(model, *opened.device, options);
      first = session.generate(request);
      session.save_cache();
    }
    const auto same = [&](const Completion& again) {
      EXPECT_EQ(again.tokens, first.tokens);
      EXPECT_EQ(again.logprobs.at(0).log_probability, first.logprobs.at(0).log_probability);
    };
    same(answered(whole));
    // The next turn goes on from the snapshot of the answer.
    const Request asked = request;
    request.prompt.insert(request.prompt.end(), first.tokens.begin(), first.tokens.end());
    request.max_tokens = 1;
    EXPECT_GT(answered(static_cast<int>((request.prompt.size() - 1) / 32 * 32)).prompt_tokens,
              whole);
    // The prompt's own snapshot is damaged, whichever it is: then another does, or none.
    request = asked;
    const auto kept = files();
    for (const fs::path& path : kept) {
      std::fstream bytes(path, std::ios::in | std::ios::out | std::ios::binary);
      bytes.seekp(-1, std::ios::end);
      const auto was = static_cast<char>(bytes.peek());
      bytes.put(static_cast<char>(was ^ 1));
    }
    same(answered(0));
    EXPECT_LT(files().size(), kept.size());
  }
}

}  // namespace
}  // namespace outboard::engine
