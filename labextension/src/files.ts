import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import { Drive } from '@jupyterlab/services';

import { DRIVE } from './tokens';

/** The files of all loops: `loops:rain-0a1b2c3d/report.ipynb`. */
export class LoopDrive extends Drive {
  /** @param serverSettings - Of this server. */
  constructor(serverSettings: ServerConnection.ISettings) {
    super({ name: DRIVE, apiEndpoint: 'loopat/api/contents', serverSettings });
  }

  /** Address of a file as it is, with the token that the server asks browsers for. */
  override async getDownloadUrl(localPath: string): Promise<string> {
    const stock = new URL(await super.getDownloadUrl(localPath), location.href);
    const url = new URL(
      URLExt.join(
        this.serverSettings.baseUrl,
        'loopat/api/files',
        URLExt.encodeParts(localPath)
      ),
      location.href
    );
    url.search = stock.search;
    return url.toString();
  }
}
