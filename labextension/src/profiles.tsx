import type { TranslationBundle } from '@jupyterlab/translation';
import { caretUpIcon, closeIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { movedUp } from './form';
import { IconButton } from './button';
import type { IProfile } from './tokens';

interface IProps {
  /** Of the field that adds a profile: id, class and what is wrong. */
  attributes: React.SelectHTMLAttributes<HTMLSelectElement>;
  chosen: readonly string[];
  known: readonly IProfile[];
  trans: TranslationBundle;
  onChange: (chosen: readonly string[]) => void;
}

/** Profiles in order, each with buttons to move it up and to take it away; a later one wins. */
export function ProfilePicker(props: IProps): React.ReactElement {
  const { attributes, chosen, known, trans, onChange } = props;
  const left = known.filter(profile => !chosen.includes(profile.name));
  return (
    <>
      {chosen.length > 0 && (
        <ol className="jp-Loops-profiles" aria-label={trans.__('Profiles')}>
          {chosen.map((name, index) => (
            <li key={name}>
              <span className="jp-Loops-profile">{name}</span>
              {index > 0 && (
                <IconButton
                  icon={caretUpIcon}
                  label={trans.__('Move “%1” up', name)}
                  onClick={() => onChange(movedUp(chosen, name))}
                />
              )}
              <IconButton
                icon={closeIcon}
                label={trans.__('Remove “%1”', name)}
                onClick={() => onChange(chosen.filter(other => other !== name))}
              />
            </li>
          ))}
        </ol>
      )}
      {/* Lab puts a frame of its own around the select, so nothing may come and go right beside it. */}
      <div>
        <select
          {...attributes}
          value=""
          disabled={left.length === 0}
          onChange={event => onChange([...chosen, event.target.value])}
        >
          <option value="">
            {left.length === 0
              ? trans.__('All are chosen')
              : chosen.length === 0
                ? trans.__('None chosen')
                : trans.__('Add another: later ones win')}
          </option>
          {left.map(profile => (
            <option key={profile.name} value={profile.name}>
              {profile.description
                ? `${profile.name} – ${profile.description}`
                : profile.name}
            </option>
          ))}
        </select>
      </div>
    </>
  );
}
