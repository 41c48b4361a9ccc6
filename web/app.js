// @ts-check
/** The page: from the lobby into a call and back. */

import { connect, explain } from './tern.js';
import { Api } from './page/api.js';
import { CallView } from './page/call.js';
import { Controls } from './page/controls.js';
import { byId } from './page/dom.js';
import { Grid } from './page/grid.js';
import { Lobby } from './page/lobby.js';
import { optionsOf } from './page/options.js';
import { OwnMedia } from './page/own.js';
import { Recordings } from './page/recordings.js';
import { settings } from './page/settings.js';
import { toast } from './page/toast.js';

const options = optionsOf(location);
const own = new OwnMedia();
const recordings = new Recordings();
/** @type {{ room: import('./tern.js').Room, view: CallView, controls: Controls } | null} */
let call = null;

const lobby = new Lobby(own, Boolean(options.token), join);
const grid = new Grid(byId('grid'), (id, w, h) => call?.view.sized(id, w, h));
const devices = settings({
  reopen: (kind) => own.reopen(kind).catch((error) => toast(explain(error), { error: true })),
  redirect: () => call?.view.redirect(),
});
for (const id of ['preview-settings', 'show-settings']) byId(id).onclick = () => devices.open();
addEventListener('pagehide', () => call?.room.leave());

lobby.open(options);

/** @param {{ room: string, name: string }} where */
async function join({ room: name, name: me }) {
  const { token, relayOnly, transport } = options;
  const room = await connect({ room: name, name: me, token: name === options.room ? token : undefined, relayOnly, transport, media: own.tracks });
  // What else the address says (relay=1) stays for a reload.
  history.replaceState(null, '', `${location.search}#${name}`);
  document.body.dataset.view = 'call';
  lobby.close();
  byId('call').hidden = false;
  const view = new CallView(room, own, me, grid);
  const controls = new Controls({ room, own, api: () => new Api(name, () => room.apiToken), recordings, redraw: () => view.drawOwn() });
  call = { room, view, controls };
  lobby.opened.then(() => call?.room === room && controls.publishOwn());
  room.on('closed', (error) => leave(name, me, error));
  room.on('error', (error) => toast(explain(error), { error: true }));
}

/**
 * @param {string} room
 * @param {string} name
 * @param {Error} [error]
 */
function leave(room, name, error) {
  for (const { media } of call?.room.locals.values() ?? []) if (media && media !== own.mic && media !== own.camera) media.stop();
  call?.view.close();
  call?.controls.close();
  call = null;
  recordings.close();
  lobby.open({ room, name, notice: error ? explain(error) : `You left “${room}”.` });
}
