import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { components } from './openapi';

type Listening = components['schemas']['ListeningPort'];

interface IPortsProps {
  listening: readonly Listening[];
  trans: TranslationBundle;
  onPick: (found: Listening) => void;
}

/** Ports that programs in the loop listen on, to be picked. */
export function Ports(props: IPortsProps): React.ReactElement | null {
  const { listening, trans, onPick } = props;
  if (listening.length === 0) {
    return null;
  }
  return (
    <div className="jp-Loops-field">
      <div id="jp-loops-share-listening">
        {trans.__('Programs in the loop listen on')}
      </div>
      <ul className="jp-Loops-ports" aria-labelledby="jp-loops-share-listening">
        {listening.map(found => {
          const name = `${found.port}/${found.protocol}`;
          return (
            <li key={name}>
              {found.reachable ? (
                <button
                  type="button"
                  className="jp-Loops-link"
                  aria-label={trans.__('Share port %1', name)}
                  onClick={() => onPick(found)}
                >
                  {name}
                </button>
              ) : (
                trans.__('%1 (inside the loop only)', name)
              )}
            </li>
          );
        })}
      </ul>
    </div>
  );
}
