// One end of a call, without a page around it: a moving picture and a channel that gives an echo. Chromium and Firefox
// run the same; descriptions are exchanged by whoever calls, with all candidates in them.

class End {
  constructor(configuration) {
    this.connection = new RTCPeerConnection(configuration);
    this.connection.ondatachannel = ({ channel }) => {
      channel.onmessage = ({ data }) => channel.send(data);
    };
    this.connection.ontrack = ({ track }) => {
      this.video = document.createElement('video');
      this.video.muted = true;
      this.video.srcObject = new MediaStream([track]);
      this.video.play();
    };
  }

  async offer() {
    const canvas = document.createElement('canvas');
    const picture = canvas.getContext('2d');
    let turn = 0;
    setInterval(() => {
      picture.fillStyle = `hsl(${(turn += 7)} 80% 50%)`;
      picture.fillRect(0, 0, canvas.width, canvas.height);
    }, 40);
    this.connection.addTrack(canvas.captureStream(25).getVideoTracks()[0]);
    this.channel = this.connection.createDataChannel('echo');
    this.heard = [];
    this.channel.onmessage = ({ data }) => this.heard.push(data);
    return this.described(await this.connection.createOffer());
  }

  async answer(offer) {
    await this.connection.setRemoteDescription({ type: 'offer', sdp: offer });
    return this.described(await this.connection.createAnswer());
  }

  accept(answer) {
    return this.connection.setRemoteDescription({ type: 'answer', sdp: answer });
  }

  async described(description) {
    await this.connection.setLocalDescription(description);
    await until(() => this.connection.iceGatheringState === 'complete');
    return this.connection.localDescription.sdp;
  }

  // Says some things and waits until each came back.
  async hearsItsEcho() {
    await until(() => this.channel.readyState === 'open');
    const things = [1, 10, 100, 1000, 10000].map((length) => 'x'.repeat(length));
    things.forEach((thing) => this.channel.send(thing));
    await until(() => this.heard.length === things.length);
    if (this.heard.join() !== things.join()) throw new Error('the echo is another');
  }

  async sees(frames) {
    await until(async () => (await this.statistics('inbound-rtp')).some((flow) => flow.framesDecoded >= frames));
  }

  // The entries of a type, or the one of that name.
  async statistics(type, id) {
    const entries = [...(await this.connection.getStats()).values()];
    return entries.filter((entry) => entry.type === type && entry.id === (id ?? entry.id));
  }

  // How it went, once that is known.
  async outcome() {
    await until(() => ['connected', 'failed'].includes(this.connection.connectionState));
    return this.connection.connectionState;
  }

  // The chosen pair: types of its candidates, and how the relay is reached.
  async pair() {
    const [transport] = await this.statistics('transport');
    const pairs = await this.statistics('candidate-pair');
    const pair = pairs.find((entry) => entry.selected ?? entry.id === transport.selectedCandidatePairId);
    const [local] = await this.statistics('local-candidate', pair.localCandidateId);
    const [remote] = await this.statistics('remote-candidate', pair.remoteCandidateId);
    return { local: local.candidateType, protocol: local.relayProtocol ?? null, remote: remote.candidateType };
  }
}

async function until(condition) {
  const end = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within the deadline: ${condition}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

// Two ends in one document that may use nothing but the relay.
async function relayedCall(iceServers) {
  const configuration = { iceServers, iceTransportPolicy: 'relay' };
  const [one, other] = [new End(configuration), new End(configuration)];
  await one.accept(await other.answer(await one.offer()));
  await one.hearsItsEcho();
  await other.sees(10);
  return [await one.pair(), await other.pair()];
}
