import { CallCard } from "./cards/call";
import { Footer } from "./cards/footer";
import { GatherCard } from "./cards/gather";
import { Header } from "./cards/header";
import { TrafficCard } from "./cards/traffic";
import { MessagesCard } from "./cards/messages";
import { Moved } from "./cards/moved";
import { NodesCard } from "./cards/nodes";
import { Offline } from "./cards/offline";
import { ReportCard } from "./cards/report";
import { LiveView } from "./live/view";
import { online } from "./state/rope";
import { view } from "./state/view";

/** The page. */
export function App() {
  return (
    <>
      <a class="skip" href="#main">Skip to the page</a>
      <Header />
      <Offline />
      <Moved />
      {view.value === "live" ? <LiveView /> : <Calls />}
      <Footer />
    </>
  );
}

/** What the node does for those who call and send. */
function Calls() {
  return (
    <main id="main" class="board" data-online={online.value}>
      <NodesCard />
      <div class="column">
        <CallCard />
      </div>
      <div class="column">
        <GatherCard />
        <MessagesCard />
      </div>
      <div class="column">
        <ReportCard />
        <TrafficCard />
      </div>
    </main>
  );
}
